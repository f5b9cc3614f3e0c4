package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/hub"
)

// bundleCommand gathers what somebody who helps wants to know.
func bundleCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use: "support-bundle [FILE]", Short: "Gather status, configuration without secrets, metrics and the last log lines in a .tar.gz", Args: cobra.MaximumNArgs(1),
		Long: "Gathers what somebody who helps wants to know (default file: headcount-support-TIME.tar.gz): status, health, journal, loss\nledger, metrics, the newest log lines, the effective configuration without secrets, the checks of 'headcount doctor', versions.\nThere are no readings, counts or tokens in it. What a hub that does not run cannot tell is noted.",
	}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now().UTC()
		path := "headcount-support-" + now.Format("20060102-150405") + ".tar.gz"
		if len(args) == 1 {
			path = args[0]
		}
		if _, err := writeNew(path, func(w io.Writer) error { return pack(w, now, c.gather()) }); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; look into it before you send it\n", path)
		return nil
	}
	return cmd
}

// part is one file of a bundle.
type part struct {
	name    string
	content []byte
}

// gather asks the hub and the machine. What cannot be had becomes a file that says why.
func (c *client) gather() (parts []part) {
	add := func(name string, b []byte, err error) {
		if err != nil {
			name, b = name+".missing.txt", []byte(err.Error()+"\n")
		}
		parts = append(parts, part{name, b})
	}
	for name, path := range map[string]string{
		"status.json": "/v1/status", "health.json": "/health", "journal.json": "/v1/journal", "loss.json": "/v1/loss",
		"metrics.txt": "/metrics", "log.jsonl": "/v1/logs",
	} {
		var b bytes.Buffer
		err := c.download(path, &b)
		if path == "/health" && b.Len() > 0 {
			err = nil
		}
		add(name, hideSecrets(b.Bytes()), err)
	}
	b, err := c.effective()
	add("configuration.json", b, err)
	b, err = json.MarshalIndent(examine(c), "", "  ")
	add("doctor.json", b, err)
	add("versions.txt", versions(), nil)
	return parts
}

// effective is every value of the configuration without what may be a secret.
func (c *client) effective() ([]byte, error) {
	cfg, err := load(c.config)
	if err == nil {
		cfg, err = hub.Effective(cfg)
	}
	if err != nil {
		return nil, err
	}
	list := cfg.Explain("")
	for i := range list {
		list[i].Value = string(hideSecrets([]byte(list[i].Value)))
		if secretKey.MatchString(list[i].Key) {
			list[i].Value = hidden
		}
	}
	return json.MarshalIndent(list, "", "  ")
}

const hidden = "(hidden)"

// What may hold a secret: addresses of receivers, which often have one in their path, and all that is called so.
var (
	secretKey = regexp.MustCompile(`^actions\..*\.(webhook|ntfy|chat|url|body|payload)$|(secret|password|token|pin)$`)
	secrets   = []struct {
		in *regexp.Regexp
		as string
	}{
		{regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/@\s"]+@`), "${1}" + hidden + "@"},
		{regexp.MustCompile(`([?&][A-Za-z0-9_-]*(?:token|key|secret|password|auth)[A-Za-z0-9_-]*=)[^&\s"]+`), "${1}" + hidden},
		{regexp.MustCompile(`(?i)(bearer )[A-Za-z0-9._~+/=-]+`), "${1}" + hidden},
	}
)

// hideSecrets hides what looks like one in a text: names and passwords in addresses, tokens.
func hideSecrets(b []byte) []byte {
	for _, s := range secrets {
		b = s.in.ReplaceAll(b, []byte(s.as))
	}
	return b
}

func versions() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "headcount %s\n%s %s/%s, %d CPUs\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			fmt.Fprintf(&b, "%s %s\n", d.Path, d.Version)
		}
	}
	return []byte(b.String())
}

func pack(w io.Writer, now time.Time, parts []part) error {
	packed := gzip.NewWriter(w)
	out := tar.NewWriter(packed)
	for _, p := range parts {
		if err := out.WriteHeader(&tar.Header{Name: "headcount-support/" + p.name, Size: int64(len(p.content)), Mode: 0o600, ModTime: now}); err != nil {
			return err
		}
		if _, err := out.Write(p.content); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), packed.Close())
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/drivers/serialport"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/config"
)

// verdictOf a check.
type verdictOf string

const (
	fine verdictOf = "ok"
	warn verdictOf = "warn"
	bad  verdictOf = "bad"
)

// finding is the result of one check.
type finding struct {
	Check   string    `json:"check"`
	Verdict verdictOf `json:"verdict"`
	Detail  string    `json:"detail"`
	Do      string    `json:"do,omitempty"` // what to do about it
}

// doctorCommand checks the surroundings of a hub.
func doctorCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check configuration, ports, disk, clock, serial lines, brokers and cloud (exit 0 well, 4 not)", Args: cobra.NoArgs,
		Long: "Looks at what a hub needs and says of each whether it is ok, worth a look (warn) or in the way (bad), and what to do.\nIt changes nothing. The exit code is 4 when something is bad.",
	}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := examine(c)
		if c.asJSON {
			if err := printJSON(cmd.OutOrStdout(), list); err != nil {
				return err
			}
		} else if err := printFindings(cmd.OutOrStdout(), list); err != nil {
			return err
		}
		for _, f := range list {
			if f.Verdict == bad {
				return &exitError{code: exitDegraded, err: errors.New("something is in the way"), silent: true}
			}
		}
		return nil
	}
	return cmd
}

func printFindings(w io.Writer, list []finding) error {
	t := table(w)
	for _, f := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Verdict, f.Check, f.Detail)
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Do)
		}
	}
	return t.Flush()
}

// examine makes all checks. Those that need a configuration are left out without a good one.
func examine(c *client) []finding {
	cfg, err := load(c.config)
	if err != nil {
		first, more, _ := strings.Cut(err.Error(), "\n")
		if more != "" {
			first += " (and more)"
		}
		return append([]finding{{"configuration", bad, first, "headcount config check"}}, checkClock(time.Now()))
	}
	list := []finding{{"configuration", fine, cfg.Path, ""}}
	for _, w := range cfg.Warnings {
		list = append(list, finding{"configuration", warn, w, "headcount config check"})
	}
	running := checkHub(c)
	list = append(list, running, checkClock(time.Now()))
	list = append(list, checkPorts(cfg, running.Verdict == fine)...)
	list = append(list, checkDisk(cfg.Storage)...)
	list = append(list, checkSerial(cfg.Inputs)...)
	list = append(list, checkBrokers(cfg.Inputs)...)
	return append(list, checkCloud(cfg.Uplink)...)
}

func checkHub(c *client) finding {
	var s api.Status
	_, err := c.get("/v1/status", &s)
	var e *exitError
	switch {
	case errors.As(err, &e) && e.code == exitNotRunning:
		return finding{"hub", warn, "it does not run", "start it: headcount run, or headcount service start"}
	case err != nil:
		return finding{"hub", warn, err.Error(), ""}
	}
	h := api.Judge(s)
	for _, check := range h.Checks {
		if check.Status != api.Up {
			return finding{"hub", warn, fmt.Sprintf("%s: %s: %s", h.Status, check.Name, check.Detail), "headcount status"}
		}
	}
	return finding{"hub", fine, fmt.Sprintf("%s, version %s", s.State, s.Version), ""}
}

// built is a time before which no clock can be right.
var built = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func checkClock(now time.Time) finding {
	if now.Before(built) {
		return finding{"clock", bad, "it says " + now.Format(time.RFC3339), "set the clock, and let systemd-timesyncd or chrony keep it"}
	}
	if synced, known := clockSynced(); known && !synced {
		return finding{"clock", warn, "the kernel does not hold it for synchronised", "let systemd-timesyncd or chrony keep it: timedatectl status"}
	}
	return finding{"clock", fine, now.Format(time.RFC3339), ""}
}

// checkPorts looks whether the hub could listen, unless it does already.
func checkPorts(cfg *config.Config, running bool) (list []finding) {
	if running {
		return []finding{{"ports", fine, cfg.HTTP.Listen + " is the hub's", ""}}
	}
	addrs := map[string]string{"http.listen": cfg.HTTP.Listen}
	for _, in := range cfg.Inputs {
		if l := option(in.Options, "listen"); l != "" {
			addrs["input "+in.ID] = l
		}
	}
	for what, addr := range addrs {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			list = append(list, finding{"ports", bad, what + ": " + err.Error(), "stop who has it (ss -ltnp), or choose another port"})
			continue
		}
		_ = ln.Close()
		list = append(list, finding{"ports", fine, what + " " + addr + " is free", ""})
	}
	return list
}

func checkDisk(s config.Storage) []finding {
	dir := existing(s.Dir)
	free, total, ok := diskFree(dir)
	if !ok {
		return []finding{{"disk", warn, "the free space under " + dir + " is not known here", ""}}
	}
	f := finding{"disk", fine, fmt.Sprintf("%s of %s free under %s", bytesText(free), bytesText(total), dir), ""}
	switch {
	case free < 256<<20:
		f.Verdict, f.Do = bad, "make room: the hub stops when it cannot store"
	case free < s.MaxSize && free < total/10:
		f.Verdict, f.Do = warn, "make room, or lower storage.max_size below what is free"
	}
	list := []finding{f}
	if kind, readOnly, ok := mountOf(dir); ok {
		m := finding{"mount", fine, dir + " is on " + kind, ""}
		switch {
		case readOnly:
			m.Verdict, m.Do = bad, "mount it read-write, or name another storage.dir"
		case kind == "tmpfs" || kind == "ramfs":
			m.Verdict, m.Do = bad, "name a storage.dir on a disk: what is here is gone after a restart"
		case kind == "nfs" || kind == "nfs4" || kind == "cifs" || kind == "9p" || kind == "vfat":
			m.Verdict, m.Do = warn, "use a local ext4, xfs or btrfs: locks and syncs are not sure here"
		}
		list = append(list, m)
	}
	return list
}

// existing is the path, or the nearest directory above it that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// checkSerial looks whether ports are there and may be opened. It opens none: one in use would be
// disturbed.
func checkSerial(inputs []config.Input) (list []finding) {
	for _, in := range inputs {
		id, ok := portOf(in.Options)
		if !ok {
			continue
		}
		path, err := id.Find()
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			list = append(list, finding{"serial", bad, fmt.Sprintf("input %s: %v", in.ID, err), "plug it in; headcount detect lists what is there"})
			continue
		}
		if err := accessible(path); err != nil {
			list = append(list, finding{"serial", bad, fmt.Sprintf("input %s: %s: %v", in.ID, path, err), "add the user to the group of the port: usermod -aG dialout USER, then log in again"})
			continue
		}
		list = append(list, finding{"serial", fine, fmt.Sprintf("input %s: %s", in.ID, path), ""})
	}
	return list
}

func portOf(options []byte) (id serialport.Identity, ok bool) {
	raw := rawOption(options, "port")
	return id, len(raw) > 0 && id.UnmarshalJSON(raw) == nil
}

func checkBrokers(inputs []config.Input) (list []finding) {
	for _, in := range inputs {
		if in.Driver != "mqtt" {
			continue
		}
		list = append(list, reach("broker", "input "+in.ID, option(in.Options, "url"), "1883"))
	}
	return list
}

func checkCloud(u *config.Uplink) (list []finding) {
	if u == nil {
		return []finding{{"cloud", fine, "not configured: the hub keeps to itself", ""}}
	}
	for _, one := range strings.Split(u.URL, ",") {
		list = append(list, reach("cloud", "uplink", strings.TrimSpace(one), "4222"))
	}
	return list
}

// reach looks whether somebody listens at an address. It says nothing that would log anybody in.
func reach(check, what, raw, port string) finding {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return finding{check, bad, what + ": the address is not understood", "headcount config check"}
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), port)
	}
	conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
	if err != nil {
		return finding{check, bad, what + ": " + err.Error(), "check name, network and firewall; the hub keeps trying"}
	}
	_ = conn.Close()
	return finding{check, fine, what + ": " + addr + " can be reached", ""}
}

// rawOption is an option of a driver, which has checked it.
func rawOption(options []byte, key string) json.RawMessage {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(options, &m)
	return m[key]
}

func option(options []byte, key string) (text string) {
	_ = json.Unmarshal(rawOption(options, key), &text)
	return text
}

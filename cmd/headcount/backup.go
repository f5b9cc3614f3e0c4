package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/hub"
)

// backupCommand copies a hub's store, running or stopped.
func backupCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Copy the hub's store to a new file, while it runs or is stopped", Args: cobra.ExactArgs(1),
		Long: "Copies everything that the hub has accepted so far, its state and its keys: keep the file as safe as the hub.\nA running hub makes the copy itself and goes on meanwhile; the store of a stopped one is read.",
	}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		size, err := writeNew(args[0], func(w io.Writer) error {
			err := c.download("/v1/backup", w)
			if errors.Is(err, syscall.ECONNREFUSED) {
				return backUpStopped(c.config, w)
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, %s; put it back with: headcount restore %s\n", args[0], bytesText(size), args[0])
		return nil
	}
	return cmd
}

func backUpStopped(path string, w io.Writer) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	s, err := hub.OpenStore(cfg.Storage.Dir, cfg.Site.ID)
	if err != nil {
		return err
	}
	return errors.Join(s.Backup(w, cfg.Site.ID, version), s.Close())
}

// writeNew writes a file that only its owner reads, and that is there only when it is whole. It
// overwrites none.
func writeNew(path string, write func(io.Writer) error) (size int64, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s exists and is left as it is; name another file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if info, serr := f.Stat(); serr == nil {
		size = info.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), path)
}

// download writes the hub's answer to w; it may last long.
func (c *client) download(path string, w io.Writer) error {
	c.locate()
	req, err := http.NewRequest(http.MethodGet, strings.TrimRight(c.url, "/")+path, nil)
	if err != nil {
		return usage(fmt.Errorf("--url %s: %w", c.url, err))
	}
	if err := c.authorize(req); err != nil {
		return err
	}
	long := c.http
	long.Timeout = 0
	res, err := long.Do(req)
	if err != nil {
		return fmt.Errorf("ask the hub: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return errors.Join(refusal(res.StatusCode, raw), err)
	}
	_, err = io.Copy(w, res.Body)
	return err
}

// restoreCommand puts a backup back.
func restoreCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the place of the store of a hub that is stopped", Args: cobra.ExactArgs(1),
		Long: "What was there is set aside in the same directory, never deleted. The hub then begins a new epoch, so that nothing\nit writes can be taken for what it had written after the backup; that is declared lost, unless the cloud has it.",
	}
	configFlag(cmd, &path)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := load(path)
		if err != nil {
			return err
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		m, aside, err := hub.Restore(f, cfg.Storage.Dir, cfg.Site.ID)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "restored %s as of %s to %s\n", m.Site, m.Made.Format(time.RFC3339), cfg.Storage.Dir)
		if aside != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "what was there is in %s; delete it when all is well\n", aside)
		}
		return nil
	}
	return cmd
}

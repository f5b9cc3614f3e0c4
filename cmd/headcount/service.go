package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/systemd"
)

const (
	serviceName = "headcount"
	serviceUser = "headcount"
	unitPath    = "/etc/systemd/system/headcount.service" // where kardianos/service writes it
)

// serviceCommand installs and controls the hub as a service of the machine.
func serviceCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{Use: "service", Short: "Install and control the hub as a service"}
	cmd.PersistentFlags().StringVarP(&path, "config", "c", config.DefaultPath, "configuration file of the service")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	verb := func(use, short, done string, do func(service.Service) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newService("")
			if err != nil {
				return err
			}
			if err := do(s); err != nil {
				return serviceError(use, err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), done)
			return nil
		}}
	}
	cmd.AddCommand(
		verb("install", "Install and enable the service", "installed; start it with: headcount service start", func(service.Service) error {
			return install(path)
		}),
		verb("start", "Start it", "started", service.Service.Start),
		verb("stop", "Stop it", "stopped", service.Service.Stop),
		verb("restart", "Stop it and start it again", "restarted", service.Service.Restart),
		verb("uninstall", "Remove the service; configuration and store stay", "uninstalled; configuration and store are where they were", func(s service.Service) error {
			if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) {
				return err
			}
			return errors.Join(s.Stop(), s.Uninstall())
		}),
		statusOfService(),
	)
	return cmd
}

// program is what the service manager's library wants; on systemd it is never run, as the unit
// starts `headcount run`.
type program struct{}

func (program) Start(service.Service) error { return nil }
func (program) Stop(service.Service) error  { return nil }

// newService refuses other service managers than systemd: restart policy, watchdog and sandbox
// are part of the product, and only the unit has them.
func newService(unit string) (service.Service, error) {
	if service.Platform() != "linux-systemd" {
		return nil, &exitError{code: exitNotRunning, err: errors.New("there is no systemd on this machine: have its own service manager keep 'headcount run --config FILE' running (it stays in the foreground, logs to standard error and ends on SIGTERM)")}
	}
	c := &service.Config{Name: serviceName, DisplayName: "Headcount", Description: "Headcount occupancy hub"}
	if unit != "" {
		c.Option = service.KeyValue{"SystemdScript": unit}
	}
	return service.New(program{}, c)
}

// install refuses a configuration with mistakes, makes the service's user, lets it read the
// configuration, and installs the hardened unit.
func install(path string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program's own path: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	cfg, err := load(path)
	if err != nil {
		return err
	}
	unit, err := systemd.Unit(self, path, cfg.Storage.Dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(unitPath); err == nil {
		return fmt.Errorf("%s exists: it is installed already; to install it anew: headcount service uninstall", unitPath)
	}
	if err := ensureUser(); err != nil {
		return err
	}
	if err := prepare(path, cfg.Storage.Dir); err != nil {
		return err
	}
	s, err := newService(unit)
	if err != nil {
		return err
	}
	return s.Install()
}

// ensureUser makes the system user that the unit runs as.
func ensureUser() error {
	if _, err := user.Lookup(serviceUser); err == nil {
		return nil
	}
	out, err := exec.Command("useradd", "--system", "--user-group", "--home-dir", config.DefaultDir, "--no-create-home", "--shell", "/usr/sbin/nologin", serviceUser).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the user %s: %w: %s", serviceUser, err, out)
	}
	return nil
}

// prepare lets the service's user read the configuration and, where the unit does not do it,
// own the store.
func prepare(path, state string) error {
	u, err := user.Lookup(serviceUser)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	readable := map[string]fs.FileMode{path: 0o040}
	if dir := filepath.Dir(path); dir == filepath.Dir(config.DefaultPath) {
		readable[dir] = 0o050
	}
	for name, bits := range readable {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if err := errors.Join(os.Chown(name, -1, gid), os.Chmod(name, info.Mode().Perm()|bits)); err != nil {
			return err
		}
	}
	if state == config.DefaultDir {
		return nil
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	return os.Chown(state, uid, gid)
}

func serviceError(verb string, err error) error {
	var bad *config.Errors
	switch coded := (*exitError)(nil); {
	case errors.As(err, &bad), errors.As(err, &coded):
		return fmt.Errorf("not done: %w", err)
	case errors.Is(err, service.ErrNotInstalled):
		return &exitError{code: exitNotRunning, err: errors.New("not installed: sudo headcount service install")}
	case errors.Is(err, fs.ErrPermission) || os.Geteuid() != 0:
		return fmt.Errorf("service %s: %w; it needs root: sudo headcount service %s", verb, err, verb)
	case verb == "start" || verb == "restart":
		return fmt.Errorf("service %s: %w; see: systemctl status headcount, journalctl -u headcount", verb, err)
	}
	return fmt.Errorf("service %s: %w", verb, err)
}

// statusOfService says whether the service runs; `headcount status` says how it does.
func statusOfService() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "status", Short: "Say whether it runs (exit 0 running, 5 not)", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		state, hint := serviceState()
		if asJSON {
			if err := printJSON(cmd.OutOrStdout(), map[string]string{"service": state}); err != nil {
				return err
			}
		} else {
			fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSuffix(state+": "+hint, ": "))
		}
		if state == "running" {
			return nil
		}
		return &exitError{code: exitNotRunning, err: errors.New(state), silent: true}
	}
	return cmd
}

func serviceState() (state, hint string) {
	s, err := newService("")
	if err != nil {
		return "no systemd", strings.TrimPrefix(err.Error(), "there is no systemd on this machine: ")
	}
	switch status, err := s.Status(); {
	case errors.Is(err, service.ErrNotInstalled):
		return "not installed", "sudo headcount service install"
	case err != nil:
		return "failed", err.Error() + "; see: systemctl status headcount, journalctl -u headcount"
	case status == service.StatusRunning:
		return "running", ""
	}
	return "stopped", "sudo headcount service start"
}

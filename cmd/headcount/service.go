package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/systemd"
)

const (
	serviceName = "headcount"
	serviceUser = "headcount"
)

// serviceCommand installs and controls the hub as a service of the machine.
func serviceCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{Use: "service", Short: "Install and control the hub as a service"}
	cmd.PersistentFlags().StringVarP(&path, "config", "c", config.DefaultPath, "configuration file of the service")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	verb := func(use, short, done string, do func(service.Service) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newService(path)
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
		verb("install", "Install and enable the service", "installed; start it with: headcount service start", func(s service.Service) error {
			return install(s, path)
		}),
		verb("start", "Start it", "started", service.Service.Start),
		verb("stop", "Stop it", "stopped", service.Service.Stop),
		verb("restart", "Stop it and start it again", "restarted", service.Service.Restart),
		verb("uninstall", "Remove the service; configuration and store stay", "uninstalled; configuration and store are where they were", service.Service.Uninstall),
		&cobra.Command{Use: "status", Short: "Say whether it runs (exit 0 running, 5 not)", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return serviceStatus(cmd, path)
		}},
	)
	return cmd
}

// program is what the service manager's library wants; on systemd it is never run, as the unit
// starts `headcount run`.
type program struct{}

func (program) Start(service.Service) error { return nil }
func (program) Stop(service.Service) error  { return nil }

func newService(configPath string) (service.Service, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program's own path: %w", err)
	}
	if configPath, err = filepath.Abs(configPath); err != nil {
		return nil, err
	}
	return service.New(program{}, &service.Config{
		Name: serviceName, DisplayName: "Headcount", Description: "Headcount occupancy hub",
		Executable: self, Arguments: []string{"run", "--config", configPath},
		Option: service.KeyValue{"SystemdScript": systemd.Unit(self, configPath)},
	})
}

// install refuses a configuration with mistakes, makes the service's user where the platform
// needs one, and installs the hardened unit.
func install(s service.Service, path string) error {
	if _, err := load(path); err != nil {
		return fmt.Errorf("not installed: %w", err)
	}
	if s.Platform() == "linux-systemd" {
		if err := ensureUser(); err != nil {
			return err
		}
	}
	return s.Install()
}

// ensureUser makes the system user that the unit runs as.
func ensureUser() error {
	if _, err := user.Lookup(serviceUser); err == nil {
		return nil
	}
	out, err := exec.Command("useradd", "--system", "--user-group", "--home-dir", config.DefaultDir, "--shell", "/usr/sbin/nologin", serviceUser).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the user %s: %w: %s", serviceUser, err, out)
	}
	return nil
}

func serviceError(verb string, err error) error {
	if errors.Is(err, os.ErrPermission) || os.Geteuid() != 0 {
		return fmt.Errorf("service %s: %w; it needs root: try sudo headcount service %s", verb, err, verb)
	}
	return fmt.Errorf("service %s: %w", verb, err)
}

func serviceStatus(cmd *cobra.Command, path string) error {
	s, err := newService(path)
	if err != nil {
		return err
	}
	status, err := s.Status()
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return &exitError{code: exitNotRunning, err: errors.New("not installed: headcount service install")}
	case err != nil:
		return serviceError("status", err)
	case status == service.StatusRunning:
		fmt.Fprintln(cmd.OutOrStdout(), "running")
		return nil
	}
	return &exitError{code: exitNotRunning, err: errors.New("installed, not running: headcount service start")}
}

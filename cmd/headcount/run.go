package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/hub"
)

// The configuration and store of a first look, in the working directory.
const (
	localConfig = "headcount.yaml"
	localDir    = "headcount-data"
)

// runCommand runs the hub in the foreground until SIGINT or SIGTERM.
func runCommand() *cobra.Command {
	var path, level, format string
	cmd := &cobra.Command{
		Use: "run", Short: "Run the hub in the foreground", Args: cobra.NoArgs,
		Long: "Runs the hub until SIGINT or SIGTERM. Without --config it takes ./headcount.yaml, if there is one, with\n./headcount-data as its store, else /etc/headcount/headcount.yaml.",
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", textLog, "text, or json: one object per line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := newLog(cmd, level, format)
		if err != nil {
			return usage(err)
		}
		cfg, err := load(path)
		if err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			log.Warn(w)
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return runHub(ctx, cfg, log)
	}
	return cmd
}

func runHub(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	boundMemory(len(cfg.Site.Sensors))
	h, err := hub.Open(hub.Options{Config: cfg, Version: version, Log: log})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}

// The formats of the log.
const (
	textLog = "text"
	jsonLog = "json"
)

func newLog(cmd *cobra.Command, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: want debug, info, warn or error", level)
	}
	switch format {
	case textLog:
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l})), nil
	case jsonLog:
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l})), nil
	}
	return nil, fmt.Errorf("--log-format %s: want text or json", format)
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.PersistentFlags().StringVarP(path, "config", "c", os.Getenv("HEADCOUNT_CONFIG"), "configuration file (also HEADCOUNT_CONFIG)")
}

// load reads the configuration that the flag names, or the one that a first look uses.
func load(path string) (*config.Config, error) {
	path, dir, err := place(path)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(path, hub.ConfigOptions(os.Environ(), dir))
	switch {
	case err == nil:
		return cfg, nil
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w\nmake one with 'headcount init', or name it with --config", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w\nit is readable for root and the service only: try sudo", err)
	}
	return nil, &exitError{code: exitConfig, err: err}
}

// place says which configuration a command without --config takes, and where its store is when
// it names none.
func place(path string) (file, dir string, err error) {
	if path != "" {
		return path, config.DefaultDir, nil
	}
	if _, err := os.Stat(localConfig); err != nil {
		return config.DefaultPath, config.DefaultDir, nil
	}
	dir, err = filepath.Abs(localDir)
	return localConfig, dir, err
}

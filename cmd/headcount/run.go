package main

import (
	"context"
	"fmt"
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
	var path, level string
	cmd := &cobra.Command{
		Use: "run", Short: "Run the hub in the foreground", Args: cobra.NoArgs,
		Long: "Runs the hub until SIGINT or SIGTERM. Without --config it takes ./headcount.yaml, if there is one, with\n./headcount-data as its store, else /etc/headcount/headcount.yaml.",
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := newLog(cmd, level)
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
	h, err := hub.Open(hub.Options{Config: cfg, Version: version, Log: log})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}

func newLog(cmd *cobra.Command, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: l})), nil
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.PersistentFlags().StringVarP(path, "config", "c", os.Getenv("HEADCOUNT_CONFIG"), "configuration file (also HEADCOUNT_CONFIG)")
}

// load reads the configuration that the flag names, or the one that a first look uses.
func load(path string) (*config.Config, error) {
	dir := config.DefaultDir
	if path == "" {
		path = config.DefaultPath
		if _, err := os.Stat(localConfig); err == nil {
			path = localConfig
			if dir, err = filepath.Abs(localDir); err != nil {
				return nil, err
			}
		}
	}
	cfg, err := config.Load(path, hub.ConfigOptions(os.Environ(), dir))
	if os.IsNotExist(err) {
		return nil, &exitError{code: exitConfig, err: fmt.Errorf("%w\nMake one with 'headcount init', or name it with --config", err)}
	}
	return cfg, err
}

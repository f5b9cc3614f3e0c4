package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/config"
)

// initCommand writes a configuration to start from.
func initCommand() *cobra.Command {
	var toStdout bool
	cmd := &cobra.Command{Use: "init [FILE]", Short: "Write an annotated configuration to start from (default ./headcount.yaml)", Args: cobra.MaximumNArgs(1)}
	cmd.Flags().BoolVar(&toStdout, "print", false, "print it instead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if toStdout {
			_, err := cmd.OutOrStdout().Write(config.Example())
			return err
		}
		path := localConfig
		if len(args) == 1 {
			path = args[0]
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s exists and is left as it is; name another file", path)
		}
		if err != nil {
			return err
		}
		if _, err := f.Write(config.Example()); err != nil {
			f.Close()
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "wrote %s; edit it, then: headcount config check && headcount run\n", path)
		return f.Close()
	}
	return cmd
}

// configCommand checks and shows the configuration.
func configCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{Use: "config", Short: "Check, show and explain the configuration"}
	configFlag(cmd, &path)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(
		&cobra.Command{Use: "check", Short: "Say everything that is wrong with it (exit 78), or nothing", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %d spaces, %d doors, %d sensors, %d inputs\n", cfg.Path, len(cfg.Site.Spaces), len(cfg.Site.Doors), len(cfg.Site.Sensors), len(cfg.Inputs))
			return nil
		}},
		&cobra.Command{Use: "show", Short: "Print every effective value", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return explain(cmd, path, "")
		}},
		&cobra.Command{Use: "explain KEY", Short: "Say what a value is and where it comes from", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd, path, args[0])
		}},
		&cobra.Command{Use: "schema", Short: "Print the JSON Schema of the file", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		}},
	)
	return cmd
}

// explain prints the effective values of a key and of all below it.
func explain(cmd *cobra.Command, path, key string) error {
	cfg, err := load(path)
	if err != nil {
		return err
	}
	list := cfg.Explain(key)
	if len(list) == 0 {
		return fmt.Errorf("there is no key %q in the configuration; see 'headcount config show'", key)
	}
	for _, e := range list {
		fmt.Fprintf(cmd.OutOrStdout(), "%s = %s   # %s\n", e.Key, e.Value, e.From)
		if key != "" && e.Description != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "    %s\n", e.Description)
		}
	}
	return nil
}

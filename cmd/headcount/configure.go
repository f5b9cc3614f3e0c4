package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/hub"
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
	var asJSON bool
	cmd := &cobra.Command{Use: "config", Short: "Check, show and explain the configuration"}
	configFlag(cmd, &path)
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(
		&cobra.Command{Use: "check", Short: "Say everything that is wrong with it (exit 78), or nothing", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return check(cmd.OutOrStdout(), path, asJSON)
		}},
		&cobra.Command{Use: "show", Short: "Print every effective value", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return explain(cmd.OutOrStdout(), path, "", asJSON)
		}},
		&cobra.Command{Use: "explain KEY", Short: "Say what a value is and where it comes from", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return explain(cmd.OutOrStdout(), path, args[0], asJSON)
		}},
		&cobra.Command{Use: "schema", Short: "Print the JSON Schema of the file", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		}},
	)
	return cmd
}

// verdict is what config check --json prints.
type verdict struct {
	File     string    `json:"file,omitempty"`
	OK       bool      `json:"ok"`
	Problems []mistake `json:"problems"`
	Warnings []string  `json:"warnings"`
}

type mistake struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Env     string `json:"env,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// check judges the configuration. With --json its mistakes go to standard output, and nothing
// else.
func check(w io.Writer, path string, asJSON bool) error {
	cfg, err := load(path)
	if asJSON {
		return checkJSON(w, cfg, err)
	}
	if err != nil {
		return err
	}
	for _, warning := range cfg.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	fmt.Fprintf(w, "%s is good: spaces %d, doors %d, sensors %d, inputs %d\n", cfg.Path, len(cfg.Site.Spaces), len(cfg.Site.Doors), len(cfg.Site.Sensors), len(cfg.Inputs))
	return nil
}

func checkJSON(w io.Writer, cfg *config.Config, err error) error {
	v := verdict{OK: err == nil, Problems: []mistake{}, Warnings: []string{}}
	if cfg != nil {
		v.File, v.Warnings = cfg.Path, append(v.Warnings, cfg.Warnings...)
	}
	if list := (*config.Errors)(nil); errors.As(err, &list) {
		for _, p := range list.Problems {
			v.Problems = append(v.Problems, mistake{p.File, p.Line, p.Col, p.Env, p.Path, p.Msg, p.Hint})
		}
	} else if err != nil {
		v.Problems = append(v.Problems, mistake{Message: err.Error()})
	}
	if printErr := printJSON(w, v); printErr != nil || err == nil {
		return printErr
	}
	return &exitError{code: exitConfig, err: err, silent: true}
}

// explain prints the effective values of a key and of all below it.
func explain(w io.Writer, path, key string, asJSON bool) error {
	cfg, err := load(path)
	if err == nil {
		cfg, err = hub.Effective(cfg)
	}
	if err != nil {
		return err
	}
	list := cfg.Explain(key)
	if len(list) == 0 {
		return fmt.Errorf("there is no key %q in the configuration; see 'headcount config show'", key)
	}
	if asJSON {
		return printJSON(w, list)
	}
	for _, e := range list {
		fmt.Fprintf(w, "%s = %s   # %s\n", e.Key, e.Value, e.From)
		if key != "" && e.Description != "" {
			fmt.Fprintf(w, "    %s\n", e.Description)
		}
	}
	return nil
}

// Command headcount is the hub and its operator's tools.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	_ "time/tzdata" // small boards have no zone files

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/config"
)

// version is set by the build.
var version = "dev"

// The exit codes.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitDegraded   = 4
	exitNotRunning = 5
	exitConfig     = 78
)

// exitError is an error with an exit code of its own. A silent one was reported already.
type exitError struct {
	code   int
	err    error
	silent bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings passed in.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	code, silent := exitFailure, false
	if e := (*exitError)(nil); errors.As(err, &e) {
		code, silent = e.code, e.silent
	} else if c := (*config.Errors)(nil); errors.As(err, &c) {
		code = exitConfig
	}
	if !silent {
		fmt.Fprintln(stderr, err)
	}
	return code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "headcount",
		Short:         "Headcount: how many people are in each room",
		Long:          "Headcount is the occupancy hub of a site: it reads sensors, keeps every reading durably,\ncounts people per space, raises alerts and replicates to the cloud tier.",
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(
		runCommand(), initCommand(), configCommand(),
		statusCommand(), spacesCommand(), alertsCommand(), devicesCommand(),
		journalCommand(), decodeCommand(), replayCommand(), serviceCommand(), tokenCommand(), simulateCommand(),
		detectCommand(), doctorCommand(), bundleCommand(), backupCommand(), restoreCommand(),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintln(c.OutOrStdout(), version)
		}},
	)
	usageArgs(root)
	return root
}

func usage(err error) error { return &exitError{code: exitUsage, err: err} }

// usageArgs makes wrong arguments a usage error for c and all below it.
func usageArgs(c *cobra.Command) {
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.NoArgs
		}
		err := check(c, args)
		if err == nil {
			return nil
		}
		if c.HasSubCommands() && len(args) > 0 {
			c.SuggestionsMinimumDistance = 2
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
			}
		}
		return usage(fmt.Errorf("%w\nsee '%s --help'", err, c.CommandPath()))
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/cloud/tier"
)

func (c *cli) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "Notifications that could not be delivered", Long: `Notifications that could not be delivered, and mail that is kept for want of a mail server.
The commands work on the database and may run beside a running tier, which takes over a change within seconds.`}
	cmd.AddCommand(c.dlqList(), c.dlqShow(),
		c.dlqChange("retry", "Try one again", "tried again", tier.RetryDeadLetter),
		c.dlqChange("drop", "Dismiss one", "dismissed", tier.DropDeadLetter))
	return cmd
}

func (c *cli) dlqList() *cobra.Command {
	var org string
	var asJSON bool
	cmd := &cobra.Command{Use: "ls", Short: "List them, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.load()
		if err != nil {
			return err
		}
		list, err := tier.DeadLetters(cmd.Context(), cfg, org)
		if err != nil {
			return err
		}
		if asJSON {
			for _, l := range list {
				if err := json.NewEncoder(c.stdout).Encode(l); err != nil {
					return err
				}
			}
			return nil
		}
		return printLetters(c.stdout, list)
	}}
	cmd.Flags().StringVar(&org, "org", "", "of this organisation only")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return cmd
}

func printLetters(out io.Writer, list []tier.Letter) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tORG\tCHANNEL\tTO\tTRIES\tUPDATED\tTITLE\tREASON")
	for _, l := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.ID, l.State, l.Org, l.Channel, l.Target, l.Attempts, l.Updated.Format(time.RFC3339), l.Title, l.Reason)
	}
	return w.Flush()
}

func letterID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no id; headcount-cloud dlq ls lists them", s)
	}
	return id, nil
}

func (c *cli) dlqShow() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show one with its whole message, as JSON", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		id, err := letterID(args[0])
		if err != nil {
			return err
		}
		cfg, err := c.load()
		if err != nil {
			return err
		}
		l, err := tier.DeadLetter(cmd.Context(), cfg, id)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(c.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(l)
	}}
}

func (c *cli) dlqChange(verb, short, done string, do func(context.Context, tier.Config, int64) error) *cobra.Command {
	return &cobra.Command{Use: verb + " ID...", Short: short, Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		cfg, err := c.load()
		if err != nil {
			return err
		}
		for _, arg := range args {
			id, err := letterID(arg)
			if err != nil {
				return err
			}
			if err := do(cmd.Context(), cfg, id); err != nil {
				return err
			}
			fmt.Fprintln(c.stderr, id, done)
		}
		return nil
	}}
}

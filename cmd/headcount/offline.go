package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/drivers/decode"
	"github.com/headcount-hub/headcount/edge/api"
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/hub"
	"github.com/headcount-hub/headcount/edge/replay"
)

// decodeCommand decodes samples of sensor messages with the drivers' own codecs.
func decodeCommand() *cobra.Command {
	var o decode.Options
	cmd := &cobra.Command{
		Use: "decode [--check [--ignore-sensor]] FILE…", Short: "Decode samples of sensor messages as the drivers do", Args: cobra.MinimumNArgs(1),
		Long: "Prints one JSON line per sample: its id and the observations. --check compares them with what the sample\nexpects, prints a line per mismatch and ends with 'exact N of M'; it exits 0 only when all are exact.",
	}
	cmd.Flags().BoolVar(&o.Check, "check", false, "compare with the samples' expected observations")
	cmd.Flags().BoolVar(&o.IgnoreSensor, "ignore-sensor", false, "with --check: do not compare the sensor")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ok, err := decode.Run(args, o, cmd.OutOrStdout())
		if err == nil && !ok {
			err = &exitError{code: exitFailure, err: errors.New("not all samples are exact"), silent: true}
		}
		return err
	}
	return cmd
}

// replayCommand runs recorded readings through the engine.
func replayCommand() *cobra.Command {
	var o replay.Options
	var path string
	var seed int64
	cmd := &cobra.Command{
		Use: "replay --config SITE --in READINGS", Short: "Run recorded readings through the engine and score the answer", Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVarP(&path, "config", "c", "", "configuration with the site: spaces, doors, sensors")
	f.StringVar(&o.In, "in", "", "readings, one JSON object per line")
	f.DurationVar(&o.Every, "every", 5*time.Minute, "step of the output")
	f.StringVar(&o.Truth, "truth", "", "CSV with the true counts: time,count or time,space,count")
	f.Int64Var(&seed, "shuffle", 0, "deliver the readings in a random order of this seed, none later than 24 h")
	f.StringVar(&o.Out, "out", "", "write the finally revised history here, one JSON object per space and step")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if path == "" || o.In == "" {
			return usage(errors.New("--config and --in are required"))
		}
		if f.Changed("shuffle") {
			o.Shuffle = &seed
		}
		cfg, err := config.LoadSite(path, os.Environ())
		if err != nil {
			return err
		}
		o.Site, o.Stdin, o.Notes = &cfg.Site, cmd.InOrStdin(), cmd.ErrOrStderr()
		return replay.Run(cmd.Context(), o, cmd.OutOrStdout())
	}
	return cmd
}

// journalCommand looks into the store of a hub that does not run; of one that does, the API tells
// the same.
func journalCommand() *cobra.Command {
	var path, dir string
	var asJSON bool
	cmd := &cobra.Command{Use: "journal", Short: "Look into the store of a hub that is stopped"}
	configFlag(cmd, &path)
	cmd.PersistentFlags().StringVar(&dir, "dir", "", "the store's directory (default: that of the configuration)")
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON (export always does)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	with := func(f func(w io.Writer, s *hub.Store) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			if dir == "" {
				dir = cfg.Storage.Dir
			}
			s, err := hub.OpenStore(dir, cfg.Site.ID)
			if err != nil {
				return err
			}
			return errors.Join(f(cmd.OutOrStdout(), s), s.Close())
		}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "stats", Short: "Lanes, marks, sizes", Args: cobra.NoArgs, RunE: with(func(w io.Writer, s *hub.Store) error {
			if asJSON {
				return printJSON(w, s.Stats())
			}
			return printJournal(w, s.Stats())
		})},
		&cobra.Command{Use: "export", Short: "Print every record as it is stored, one per line", Args: cobra.NoArgs, RunE: with(func(w io.Writer, s *hub.Store) error {
			return s.Export(w)
		})},
		&cobra.Command{Use: "verify", Short: "Replay all inputs and compare every output byte", Args: cobra.NoArgs, RunE: with(func(w io.Writer, s *hub.Store) error {
			n, err := s.Verify()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, map[string]int{"verified": n})
			}
			fmt.Fprintf(w, "%d outputs are what the inputs give, byte for byte\n", n)
			return nil
		})},
	)
	return cmd
}

func printJournal(w io.Writer, j api.Journal) error {
	t := table(w)
	fmt.Fprintf(t, "store\t%s, %s, segments %d, quarantined %d\n", j.Storage.Dir, bytesText(j.Storage.Bytes), j.Storage.Segments, j.Storage.Quarantined)
	fmt.Fprintf(t, "epoch\t%s\n", j.Epoch)
	for _, l := range []struct {
		name string
		lane api.Lane
	}{{"events", j.Lanes.Events}, {"readings", j.Lanes.Readings}} {
		fmt.Fprintf(t, "lane %s\t%s, %d to send (%s), oldest of %s\n", l.name, laneText(l.lane, true), l.lane.BacklogRecords, bytesText(l.lane.BacklogBytes), clockText(l.lane.OldestUnsent))
	}
	return t.Flush()
}

// printJSON prints v as indented JSON.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

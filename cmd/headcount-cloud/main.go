// Command headcount-cloud is the cloud tier of Headcount and its administrator's tool: it takes
// what hubs send, once, and serves it. Without configuration it runs on loopback with an
// embedded NATS server and SQLite.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // small boards have no zone files

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/cloud/tier"
)

// version is set by the build.
var version = ""

// The exit codes.
const (
	exitFailure  = 1
	exitUsage    = 2
	exitDegraded = 4
	exitConfig   = 78
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errDegraded ends a command whose answer is bad news; it was printed already.
var errDegraded = errors.New("not all is well")

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &cli{stdout: stdout, stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, errDegraded) {
		return exitDegraded
	}
	fmt.Fprintln(stderr, "headcount-cloud:", err)
	switch {
	case errors.Is(err, tier.ErrConfig):
		return exitConfig
	case !c.ran:
		return exitUsage
	}
	return exitFailure
}

// cli is one call of the program.
type cli struct {
	stdout, stderr io.Writer
	ran            bool // the command line was understood

	config, data, http, nats string
	verbose                  bool
	format                   string // of the log; empty = text
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "headcount-cloud", Short: "The cloud tier of Headcount", SilenceUsage: true, SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) { c.ran = true },
	}
	root.PersistentFlags().StringVar(&c.config, "config", "", "configuration file (YAML); without it all defaults")
	root.PersistentFlags().StringVar(&c.data, "data", "", "data directory (default "+tier.DefaultData+")")
	root.AddCommand(c.runCommand(), c.enrolCommand(), c.revokeCommand(), c.auditCommand(), c.versionCommand())
	root.AddCommand(c.accountCommands()...)
	root.AddCommand(c.dlqCommand(), c.natsUserCommand())
	root.AddCommand(c.workOrderCommand(), c.mcpCommand())
	return root
}

// load reads the configuration and lays the flags over it.
func (c *cli) load() (tier.Config, error) {
	var cfg tier.Config
	if c.config != "" {
		var err error
		if cfg, err = tier.LoadConfig(c.config); err != nil {
			return cfg, err
		}
	}
	for _, o := range []struct {
		flag  string
		field *string
	}{{c.data, &cfg.Data}, {c.http, &cfg.HTTP.Listen}, {c.nats, &cfg.NATS.Listen}} {
		if o.flag != "" {
			*o.field = o.flag
		}
	}
	if cfg.Data == "" {
		cfg.Data = tier.DefaultData
	}
	level := slog.LevelInfo
	if c.verbose {
		level = slog.LevelDebug
	}
	switch c.format {
	case "", "text":
		cfg.Log = slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level}))
	case "json":
		cfg.Log = slog.New(slog.NewJSONHandler(c.stderr, &slog.HandlerOptions{Level: level}))
	default:
		return cfg, fmt.Errorf("--log-format %s: want text or json", c.format)
	}
	cfg.Version = versionString()
	return cfg, nil
}

func (c *cli) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Run the cloud tier until interrupted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			t, err := tier.Start(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer t.Close()
			hello := fmt.Sprintf("page and API  %s\nhubs connect  %s\n", t.HTTPAddr(), t.NATSURL())
			if code, err := tier.ClaimCode(cfg); err == nil {
				hello += "claim code    " + code + " (makes the first account)\n"
			}
			fmt.Fprint(c.stdout, hello)
			if f := t.Fingerprint(); f != "" {
				fmt.Fprintf(c.stdout, "certificate   self-signed, SHA-256 %s\n", f)
			}
			select {
			case <-cmd.Context().Done():
				return nil
			case err := <-t.Failed():
				return err
			}
		},
	}
	cmd.Flags().StringVar(&c.http, "http", "", "address of page and API (default "+tier.DefaultHTTP+")")
	cmd.Flags().StringVar(&c.nats, "nats", "", "address hubs connect to (default "+tier.DefaultNATS+")")
	cmd.Flags().BoolVarP(&c.verbose, "verbose", "v", false, "log more")
	cmd.Flags().StringVar(&c.format, "log-format", "text", "text, or json: one object per line")
	return cmd
}

func (c *cli) enrolCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "enrol ORG SITE", Aliases: []string{"enroll"}, Short: "Make credentials for the hub of a site", Args: cobra.ExactArgs(2),
		Example: "  headcount-cloud enrol acme hq-oslo --out site.creds",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.quiet()
			if err != nil {
				return err
			}
			creds, url, err := tier.Enrol(cmd.Context(), cfg, args[0], args[1])
			if err != nil {
				return err
			}
			if url != "" {
				fmt.Fprintln(c.stderr, "the hub connects to", url)
			}
			if file != "" {
				return writeSecret(file, creds)
			}
			_, err = c.stdout.Write(creds)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "out", "", "write them to this new file, closed to others, instead of printing them")
	return cmd
}

// writeSecret makes a file that only its owner reads. It overwrites none: the credentials in it
// may be in use.
func writeSecret(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

func (c *cli) revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ORG SITE", Short: "Make all credentials of a site invalid at once", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.quiet()
			if err != nil {
				return err
			}
			return tier.Revoke(cmd.Context(), cfg, args[0], args[1])
		},
	}
}

// quiet is load for commands whose output is for programs.
func (c *cli) quiet() (tier.Config, error) {
	cfg, err := c.load()
	cfg.Log = nil
	return cfg, err
}

func (c *cli) auditCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Check that every record is there once, with the hub's own bytes", Args: cobra.NoArgs,
		Long: "Compares the stored sequences of every lane with its mark (gaps, duplicates) and recomputes the chain of\nCRCs over all bytes. Exit code 4 when something is wrong. It may run beside a running tier.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.quiet()
			if err != nil {
				return err
			}
			lanes, err := tier.Audit(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			bad := 0
			for _, l := range lanes {
				if !l.OK() {
					bad++
				}
				if asJSON {
					if err := json.NewEncoder(c.stdout).Encode(l); err != nil {
						return err
					}
					continue
				}
				verdict := "ok"
				if !l.OK() {
					verdict = "BAD"
				}
				fmt.Fprintf(c.stdout, "%-4s %s/%s %s %-8s mark %d stored %d unreadable %d lost %d missing %d duplicates %d beyond %d chain %v\n",
					verdict, l.Org, l.Site, l.Epoch, l.Lane, l.Mark, l.Stored, l.Unreadable, l.Lost, l.Missing, l.Duplicates, l.Beyond, l.ChainOK)
			}
			if !asJSON {
				fmt.Fprintf(c.stdout, "%d lanes, %d bad\n", len(lanes), bad)
			}
			if bad > 0 {
				return errDegraded
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per lane")
	return cmd
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.stdout, "headcount-cloud", versionString())
			return err
		},
	}
}

// versionString is the version of the build, or what Go knows of it.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

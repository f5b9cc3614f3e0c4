// Command headcount-demo shows the main job in one process: a hub, a cloud tier, and a simulated
// building whose sensors speak real MQTT, HTTP and serial to the hub.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // small boards have no zone files

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dayStart is what time it is in the building at the start: the first people are coming.
const dayStart = 7*time.Hour + 40*time.Minute

func command() *cobra.Command {
	o := options{day: dayStart}
	var verbose bool
	cmd := &cobra.Command{
		Use: "headcount-demo", Short: "A hub, a cloud tier and a simulated building in one process", Version: version,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
	}
	f := cmd.Flags()
	f.BoolVar(&o.access, "access", true, "give the building a badge reader at the entrance and a camera in the lobby")
	f.Float64Var(&o.speed, "speed", 3, "how many times faster than the clock the people live; the sensors do not, so much more than 5 is no honest picture")
	f.Uint64Var(&o.seed, "seed", 1, "of the building's people and errors")
	f.StringVar(&o.dir, "dir", "", "keep the stores here (default: a new temporary directory, removed at the end)")
	f.StringVar(&o.http, "http", "127.0.0.1:8080", "address of the hub's page; any free port when it is taken")
	f.StringVar(&o.cloud, "cloud", "127.0.0.1:8090", "address of the cloud's page; any free port when it is taken")
	f.StringVar(&o.mqtt, "mqtt", "127.0.0.1:1883", "address of the hub's MQTT broker; any free port when it is taken")
	f.BoolVar(&verbose, "verbose", false, "log what hub and cloud do")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		level := slog.LevelError
		if verbose {
			level = slog.LevelInfo
		}
		o.log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		d, err := start(ctx, o)
		if err != nil {
			return err
		}
		welcome(cmd.OutOrStdout(), d)
		go keys(cmd.InOrStdin(), cmd.OutOrStdout(), d, stop)
		return d.wait(ctx)
	}
	return cmd
}

func welcome(w io.Writer, d *demo) {
	site := d.building.Site()
	fmt.Fprintf(w, `
Headcount demo: %d spaces, %d doors, %d sensors over MQTT, HTTP and serial, 200 simulated people

  hub    %s/   truth beside estimate, controls%s
  cloud  %s/   what the cloud knows of the site%s
  login    %s  %s
  MQTT   %s%s   serial %s   store %s

%s
`, len(site.Spaces), len(site.Doors), len(site.Sensors), d.hubURL(), taken(d.opts.http, d.hubURL()),
		d.tier.HTTPAddr(), taken(d.opts.cloud, d.tier.HTTPAddr()), loginEmail, d.password, d.mqttURL(), taken(d.opts.mqtt, d.mqttURL()), d.cable.Path, d.dir, keyHelp)
}

// taken tells that another address than the one asked for had to be taken.
func taken(asked, got string) string {
	_, port, err := net.SplitHostPort(asked)
	if err != nil || port == "0" || strings.HasSuffix(got, ":"+port) {
		return ""
	}
	return " (" + asked + " is taken)"
}

const keyHelp = `Keys, each with Enter:
  l  cut or restore the cloud link     f  make a sensor fail     m  mend all sensors
  r  stop the hub, start it again      t  truth and estimate     q  quit
`

// keys obeys what is typed until the input ends.
func keys(in io.Reader, out io.Writer, d *demo, quit func()) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var err error
		switch strings.TrimSpace(lines.Text()) {
		case "l":
			if d.relay.up() {
				d.relay.cut()
				fmt.Fprintln(out, "the cloud link is cut: the hub counts on and buffers")
			} else {
				d.relay.restore()
				fmt.Fprintln(out, "the cloud link is back: the backlog goes up")
			}
		case "f":
			var id string
			if id, err = d.failSome(); err == nil {
				fmt.Fprintln(out, "sensor", id, "says nothing from now on")
			}
		case "m":
			d.mendAll()
			fmt.Fprintln(out, "all sensors work")
		case "r":
			d.restartHub()
			fmt.Fprintln(out, "the hub stops and starts again on its store; sensors wait for their acknowledgements")
		case "t":
			printTruth(out, d)
		case "q":
			quit()
			return
		default:
			fmt.Fprint(out, keyHelp)
		}
		if err != nil {
			fmt.Fprintln(out, err)
		}
	}
}

func printTruth(w io.Writer, d *demo) {
	truth, hub := d.building.Truth(), d.hub.Load()
	if hub == nil {
		fmt.Fprintln(w, "the hub is just restarting")
		return
	}
	fmt.Fprintf(w, "%-12s %6s %9s %9s  %s\n", "space", "truth", "estimate", "90 %", "quality")
	for _, v := range hub.Snapshot().Views() {
		o := v.Occupancy
		estimate, interval := "?", "?"
		if o.Count != nil {
			estimate, interval = fmt.Sprint(*o.Count), fmt.Sprintf("%d-%d", *o.Low, *o.High)
		}
		fmt.Fprintf(w, "%-12s %6d %9s %9s  %s\n", v.ID, truth[v.ID], estimate, interval, o.Quality)
	}
}

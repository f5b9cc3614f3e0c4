package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/drivers/sim"
	"github.com/headcount-hub/headcount/drivers/sim/scenario"
	"github.com/headcount-hub/headcount/drivers/sim/simulate"
)

// simulation is one call of headcount simulate.
type simulation struct {
	scenario, listen, truth, record, start, level string
	tokenFile, mqttPasswordFile                   string
	targets                                       []string
	seed                                          uint64
	speed                                         float64
	every, length                                 time.Duration
	hubConfig                                     bool

	to    sim.Transports
	cable *sim.Cable
	at    sim.Addresses
	link  string // to the serial line, made by us
}

// simulateCommand runs a simulated building towards a hub.
func simulateCommand() *cobra.Command {
	s := &simulation{}
	cmd := &cobra.Command{
		Use: "simulate [--scenario FILE] [--target URL]…", Short: "Run a simulated building whose sensors send to a hub", Args: cobra.NoArgs,
		Long: `Runs a simulated building until SIGINT or SIGTERM: people, doors, sensors with real error rates, and the truth beside it.
Without --scenario it is the demo's building of 200 people. Each sensor of a scenario says how it talks (via); give the targets
of those ways:
  --target http://HOST:PORT            the hub's own port (via: http); also https
  --target socketio://HOST:PORT        the same, by Socket.IO (via: socketio)
  --target mqtt://[USER@]HOST:PORT     the hub's broker or one that it reads from (via: mqtt and zigbee2mqtt)
  --target serial:PATH                 a pseudo terminal; PATH becomes a link to it, for the hub's lines driver (via: serial)`,
		Example: `  headcount simulate --scenario docs/examples/simulate.yaml --target http://127.0.0.1:8080 --target mqtt://127.0.0.1:1883 --hub-config > headcount.yaml
  headcount simulate --scenario docs/examples/simulate.yaml --target http://127.0.0.1:8080 --target mqtt://127.0.0.1:1883 --listen 127.0.0.1:8070 --truth truth.csv
  headcount simulate --scenario docs/examples/simulate.yaml --record readings.jsonl --truth truth.csv --for 8h`,
	}
	f := cmd.Flags()
	f.StringVar(&s.scenario, "scenario", "", "scenario file (docs/examples/simulate.yaml); without it the demo's building")
	f.StringArrayVar(&s.targets, "target", nil, "where sensors send to; repeat it for several ways")
	f.StringVar(&s.listen, "listen", "", "loopback address of the control API, as in 127.0.0.1:8070")
	f.StringVar(&s.truth, "truth", "", "write the true counts here: CSV, or JSON lines when it ends in .jsonl")
	f.DurationVar(&s.every, "every", 10*time.Second, "time between two lines of truth")
	f.Uint64Var(&s.seed, "seed", 1, "of people and errors: the same seed gives the same days")
	f.Float64Var(&s.speed, "speed", 1, "how many times faster than the clock the people live; the sensors do not")
	f.StringVar(&s.record, "record", "", "do not send: write the readings of --for here at once, as 'headcount replay --in' reads them")
	f.DurationVar(&s.length, "for", 0, "how long to run (0 = until interrupted)")
	f.StringVar(&s.start, "start", "", "wall time at which it begins, RFC 3339; for --record (default 2026-01-05T08:00:00Z)")
	f.BoolVar(&s.hubConfig, "hub-config", false, "print a configuration for the hub of this building and targets, and end")
	f.StringVar(&s.tokenFile, "token-file", "", "file with the token for http and socketio targets")
	f.StringVar(&s.mqttPasswordFile, "mqtt-password-file", "", "file with the password for the mqtt target")
	f.StringVar(&s.level, "log-level", "info", "debug, info, warn or error")
	cmd.RunE = s.run
	return cmd
}

func (s *simulation) run(cmd *cobra.Command, _ []string) error {
	log, err := newLog(cmd, s.level, textLog)
	if err != nil {
		return usage(err)
	}
	o, err := s.building()
	if err != nil {
		return err
	}
	if s.every < time.Millisecond || s.length < 0 {
		return usage(errors.New("--every and --for: want a positive time"))
	}
	if s.record != "" {
		return s.recordTo(o, cmd.OutOrStdout())
	}
	defer s.unplug()
	if err := s.aim(!s.hubConfig); err != nil {
		return err
	}
	if s.hubConfig {
		return s.printConfig(cmd.OutOrStdout(), o)
	}
	if len(s.targets) == 0 {
		return usage(errors.New("name where sensors send to with --target, or a file with --record"))
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if s.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.length)
		defer cancel()
	}
	return s.send(ctx, o, log, cmd.OutOrStdout())
}

// building is the scenario's with what the flags say.
func (s *simulation) building() (o sim.Options, err error) {
	if s.scenario != "" {
		if o, err = scenario.Load(s.scenario); err != nil {
			return o, err
		}
	}
	o.Seed, o.Speed = s.seed, s.speed
	if s.start == "" && s.record != "" {
		s.start = "2026-01-05T08:00:00Z"
	}
	if s.start != "" {
		if o.Start, err = time.Parse(time.RFC3339, s.start); err != nil {
			return o, usage(fmt.Errorf("--start: want a time as in 2026-01-05T08:00:00Z: %w", err))
		}
	}
	return o, nil
}

func (s *simulation) recordTo(o sim.Options, stdout io.Writer) error {
	if s.length == 0 {
		return usage(errors.New("--record needs --for: how much time to record"))
	}
	f, err := os.OpenFile(s.record, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write readings: %w", err)
	}
	err = simulate.Record(simulate.Options{Building: o, Truth: s.truth, Every: s.every}, s.length, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "wrote %v of readings to %s\n", s.length, s.record)
	return nil
}

// aim reads the targets; plug makes the serial line too.
func (s *simulation) aim(plug bool) error {
	for _, target := range s.targets {
		if path, ok := strings.CutPrefix(target, "serial:"); ok {
			s.at.Serial = path
			if path == "" {
				return usage(errors.New("--target serial: name the path at which the hub shall find the line, as in serial:/tmp/boards"))
			}
			if plug {
				if err := s.plug(path); err != nil {
					return err
				}
			}
			continue
		}
		u, err := url.Parse(target)
		if err != nil || u.Host == "" {
			return usage(fmt.Errorf("--target %s: want http://HOST:PORT, socketio://HOST:PORT, mqtt://HOST:PORT or serial:PATH", target))
		}
		switch u.Scheme {
		case "http", "https":
			s.to.HTTPURL = target
		case "socketio":
			s.to.SocketURL, s.at.Socket = "http://"+u.Host, true
		case "socketios":
			s.to.SocketURL, s.at.Socket = "https://"+u.Host, true
		case "mqtt":
			s.to.MQTTURL, s.to.MQTTUser, s.at.Broker = "tcp://"+u.Host, u.User.Username(), u.Host
		default:
			return usage(fmt.Errorf("--target %s: want http, https, socketio, mqtt or serial, not %s", target, u.Scheme))
		}
	}
	return s.secrets()
}

func (s *simulation) secrets() (err error) {
	c := client{tokenFile: s.tokenFile}
	if s.to.HTTPToken, err = c.secret(); err != nil {
		return err
	}
	if s.mqttPasswordFile != "" {
		b, err := os.ReadFile(s.mqttPasswordFile)
		if err != nil {
			return fmt.Errorf("--mqtt-password-file: %w", err)
		}
		s.to.MQTTPassword = strings.TrimSpace(string(b))
	}
	return nil
}

// plug makes a pseudo terminal that the hub finds at path.
func (s *simulation) plug(path string) (err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("--target serial:%s: it exists: name a new path, at which the simulation puts its line for the hub to open", path)
	} else if err == nil {
		if err := os.Remove(path); err != nil { // of an earlier run
			return err
		}
	}
	if s.cable, err = sim.OpenCable(); err != nil {
		return err
	}
	s.to.Serial = s.cable.Device
	if err := os.Symlink(s.cable.Path, path); err != nil {
		return fmt.Errorf("--target serial:%s: %w", path, err)
	}
	s.link = path
	return nil
}

func (s *simulation) unplug() {
	if s.link != "" {
		_ = os.Remove(s.link) // it points to nothing now
	}
	if s.cable != nil {
		_ = s.cable.Close()
	}
}

func (s *simulation) printConfig(w io.Writer, o sim.Options) error {
	b, err := sim.NewBuilding(o)
	if err != nil {
		return err
	}
	if s.at.Broker == "" {
		s.at.Broker = "127.0.0.1:1883"
	}
	_, err = w.Write(b.ConfigYAML(s.at))
	for _, target := range []string{s.to.HTTPURL, s.to.SocketURL} {
		if u, perr := url.Parse(target); perr == nil && u.Host != "" {
			if _, _, perr := net.SplitHostPort(u.Host); perr == nil {
				_, perr = fmt.Fprintf(w, "http: {listen: %q}\n", u.Host)
				return errors.Join(err, perr)
			}
		}
	}
	return err
}

func (s *simulation) send(ctx context.Context, o sim.Options, log *slog.Logger, stdout io.Writer) error {
	s.to.Log = log
	run, err := simulate.Open(simulate.Options{Building: o, Transports: s.to, Listen: s.listen, Truth: s.truth, Every: s.every, Log: log})
	if err != nil {
		return err
	}
	site := run.Building().Site()
	fmt.Fprintf(stdout, "simulating %s: spaces %d, doors %d, sensors %d\n", site.ID, len(site.Spaces), len(site.Doors), len(site.Sensors))
	if a := run.Address(); a != "" {
		fmt.Fprintln(stdout, "control API", a)
	}
	if s.cable != nil {
		fmt.Fprintf(stdout, "serial line %s -> %s\n", s.link, s.cable.Path)
	}
	return run.Run(ctx)
}

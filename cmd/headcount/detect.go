package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/drivers/serialport"
	"github.com/headcount-hub/headcount/edge/discover"
)

// detected is what headcount detect --json prints.
type detected struct {
	Serial   []serialport.Info  `json:"serial"`
	Services []discover.Service `json:"services"`
	Brokers  []discover.Broker  `json:"brokers"`
	Problems []string           `json:"problems"` // what could not be looked for
}

// detectCommand lists what a hub could use: serial ports, services of the network, brokers.
func detectCommand() *cobra.Command {
	var hosts []string
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use: "detect [--host HOST]…", Short: "List serial ports, hubs and devices in the local network, MQTT brokers", Args: cobra.NoArgs,
		Long: "Lists serial ports, what announces itself by multicast DNS in the local network, and MQTT brokers at the well-known port of\nthe hosts that are named. Nothing is scanned, opened or configured.",
	}
	f := cmd.Flags()
	f.StringArrayVar(&hosts, "host", nil, "look for an MQTT broker at this host, or host:port; repeat it for several")
	f.DurationVar(&wait, "wait", 2*time.Second, "how long to listen to the network")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if wait <= 0 || wait > time.Minute {
			return usage(fmt.Errorf("--wait %v: want a time up to 1m", wait))
		}
		d := detect(cmd.Context(), hosts, wait)
		if asJSON {
			return printJSON(cmd.OutOrStdout(), d)
		}
		return printDetected(cmd.OutOrStdout(), d)
	}
	return cmd
}

func detect(ctx context.Context, hosts []string, wait time.Duration) detected {
	if ctx == nil {
		ctx = context.Background()
	}
	d := detected{Serial: []serialport.Info{}, Services: []discover.Service{}, Brokers: []discover.Broker{}, Problems: []string{}}
	ports, err := serialport.List()
	d.problem("serial ports", err)
	d.Serial = append(d.Serial, ports...)
	services, err := discover.Browse(ctx, wait, nil)
	d.problem("multicast DNS", err)
	d.Services = append(d.Services, services...)
	for _, host := range hosts {
		b, err := discover.FindBroker(ctx, host)
		if err != nil {
			d.problem("broker at "+host, err)
			continue
		}
		d.Brokers = append(d.Brokers, b)
	}
	return d
}

func (d *detected) problem(what string, err error) {
	if err != nil {
		d.Problems = append(d.Problems, what+": "+err.Error())
	}
}

func printDetected(w io.Writer, d detected) error {
	t := table(w)
	for _, p := range d.Serial {
		fmt.Fprintf(t, "serial\t%s\t%s\tinputs: [{driver: lines, port: %s}]\n", p.Path, strings.TrimSpace(p.Product+" "+p.Serial), p.Path)
	}
	for _, s := range d.Services {
		fmt.Fprintf(t, "%s\t%s\t%s:%d\t%s %s\n", s.Type, s.Name, s.Address, s.Port, s.What, strings.Join(s.Info, " "))
	}
	for _, b := range d.Brokers {
		fmt.Fprintf(t, "mqtt\t%s\t\t%s\n", b.Address, b.What)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Serial)+len(d.Services)+len(d.Brokers) == 0 {
		fmt.Fprintln(w, "nothing found: no serial port is plugged in, and nothing announces itself in the local network")
	}
	for _, p := range d.Problems {
		fmt.Fprintln(w, "not looked at:", p)
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/api"
)

// statusCommand says how the hub is doing; its exit code tells scripts.
func statusCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{Use: "status", Short: "How the hub is doing (exit 0 well, 4 degraded, 5 not running)", Args: cobra.NoArgs}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var s api.Status
		raw, err := c.get("/v1/status", &s)
		if err != nil {
			return err
		}
		health := api.Judge(s)
		if c.asJSON {
			fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(raw)))
		} else {
			printStatus(cmd.OutOrStdout(), s, health)
		}
		if health.Status != api.Up {
			return &exitError{code: exitDegraded, err: fmt.Errorf("the hub is %s", health.Status), silent: true}
		}
		return nil
	}
	return cmd
}

func printStatus(w io.Writer, s api.Status, h api.Health) {
	fmt.Fprintf(w, "%s: %s, %s, version %s, up %s\n", s.Site, h.Status, s.State, s.Version, s.Now.Sub(s.StartedAt).Round(time.Second))
	for _, c := range h.Checks {
		if c.Status != api.Up {
			fmt.Fprintf(w, "  %-10s %s: %s\n", c.Status, c.Name, c.Detail)
		}
	}
	t := table(w)
	fmt.Fprintf(t, "readings\t%d accepted (%d of devices that no sensor names), %d duplicate, %d rejected\n", s.Counts.Readings, s.Counts.Pending, s.Counts.Duplicates, s.Counts.Rejected)
	fmt.Fprintf(t, "journal\t%s, segments %d, epoch %s\n", bytesText(s.Storage.Bytes), s.Storage.Segments, s.Epoch)
	fmt.Fprintf(t, "lane events\t%s\n", laneText(s.Lanes.Events, s.Uplink.Configured))
	fmt.Fprintf(t, "lane readings\t%s\n", laneText(s.Lanes.Readings, s.Uplink.Configured))
	fmt.Fprintf(t, "uplink\t%s\n", uplinkText(s))
	for _, in := range s.Inputs {
		fmt.Fprintf(t, "input %s\t%s %s\n", in.ID, map[bool]string{true: "up", false: "DOWN"}[in.Up], in.Detail)
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(t, "warning\t%s\n", warning)
	}
	t.Flush()
}

func laneText(l api.Lane, uplink bool) string {
	if !uplink {
		return fmt.Sprintf("head %d", l.Head)
	}
	return fmt.Sprintf("head %d, applied by the cloud %d", l.Head, l.Mark)
}

func uplinkText(s api.Status) string {
	u := s.Uplink
	switch {
	case !u.Configured:
		return "not configured: the hub keeps to itself"
	case !u.Connected:
		text := "offline, buffering: " + u.Reason
		if s.HorizonS != nil {
			text += fmt.Sprintf("; room for %s more", (time.Duration(*s.HorizonS) * time.Second).Round(time.Minute))
		}
		return text
	case s.Lanes.Events.BacklogRecords+s.Lanes.Readings.BacklogRecords > 0:
		return fmt.Sprintf("connected, %d records to go", s.Lanes.Events.BacklogRecords+s.Lanes.Readings.BacklogRecords)
	}
	return "in sync"
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// spacesCommand lists spaces with their occupancy.
func spacesCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{Use: "spaces", Short: "Every space with its count, interval and quality", Args: cobra.NoArgs}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var list struct{ Spaces []edge.SpaceView }
		raw, err := c.get("/v1/spaces", &list)
		if err != nil || c.asJSON {
			return printRaw(cmd.OutOrStdout(), raw, err)
		}
		t := table(cmd.OutOrStdout())
		fmt.Fprintln(t, "SPACE\tKIND\tSTATE\tCOUNT\t90 %\tCAPACITY\tQUALITY\tAS OF")
		for _, v := range list.Spaces {
			o := v.Occupancy
			capacity := "-"
			if v.Capacity > 0 {
				capacity = strconv.Itoa(v.Capacity)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s-%s\t%s\t%s\t%s\n", v.ID, v.Kind, o.State, count(o.Count), count(o.Low), count(o.High), capacity, o.Quality, clockText(o.AsOf))
		}
		return t.Flush()
	}
	return cmd
}

// count writes a count; what is not known is no number.
func count(n *int) string {
	if n == nil {
		return "?"
	}
	return strconv.Itoa(*n)
}

func clockText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func printRaw(w io.Writer, raw []byte, err error) error {
	if err == nil {
		fmt.Fprintln(w, strings.TrimSpace(string(raw)))
	}
	return err
}

// command sends a command to the hub and says what it did.
func (c *client) command(cmd *cobra.Command, path string, body any, done string) error {
	raw, err := c.post(path, body)
	if err != nil {
		return err
	}
	if c.asJSON {
		done = strings.TrimSpace(string(raw))
	}
	fmt.Fprintln(cmd.OutOrStdout(), done)
	return nil
}

// valuesText lists a device's newest values as a person reads them.
func valuesText(values []edge.Value) string {
	if len(values) == 0 {
		return "-"
	}
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprintf("%s=%s", v.Kind, valueText(v))
	}
	return strings.Join(parts, " ")
}

func valueText(v edge.Value) string {
	switch v.Type {
	case edge.Text:
		return v.Text
	case edge.Bool:
		return strconv.FormatBool(v.True())
	}
	return strconv.FormatFloat(v.Num, 'f', -1, 64)
}

// alertsCommand lists alerts and acknowledges them.
func alertsCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{Use: "alerts", Short: "Alerts: what fires, what cleared last", Args: cobra.NoArgs}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var list struct{ Alerts []edge.Alert }
		raw, err := c.get("/v1/alerts", &list)
		if err != nil || c.asJSON {
			return printRaw(cmd.OutOrStdout(), raw, err)
		}
		if len(list.Alerts) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no alerts")
			return nil
		}
		t := table(cmd.OutOrStdout())
		fmt.Fprintln(t, "ID\tSTATE\tSEVERITY\tSINCE\tMESSAGE")
		for _, a := range list.Alerts {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", a.ID, a.State, a.Severity, clockText(a.Since), a.Message)
		}
		return t.Flush()
	}
	var note string
	ack := &cobra.Command{Use: "acknowledge ID", Short: "Say that somebody takes care of an alert", Args: cobra.ExactArgs(1)}
	ack.Flags().StringVar(&note, "note", "", "a note for the others")
	ack.RunE = func(cmd *cobra.Command, args []string) error {
		return c.command(cmd, "/v1/alerts/"+url.PathEscape(args[0])+"/acknowledge", omitEmpty(map[string]string{"note": note}), "acknowledged "+args[0])
	}
	cmd.AddCommand(ack)
	return cmd
}

func omitEmpty(m map[string]string) map[string]string {
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

// devicesCommand lists devices, approves and ignores pending ones.
func devicesCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{Use: "devices", Short: "Devices: pending, approved and ignored", Args: cobra.NoArgs}
	c.flags(cmd)
	var state string
	cmd.Flags().StringVar(&state, "state", "", "only those pending, approved or ignored")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path := "/v1/devices"
		if state != "" {
			path += "?state=" + url.QueryEscape(state)
		}
		var list struct{ Devices []edge.Device }
		raw, err := c.get(path, &list)
		if err != nil || c.asJSON {
			return printRaw(cmd.OutOrStdout(), raw, err)
		}
		if len(list.Devices) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no devices")
			return nil
		}
		t := table(cmd.OutOrStdout())
		fmt.Fprintln(t, "ADDRESS\tSTATE\tSENSOR\tREADINGS\tLAST SEEN\tLAST VALUES")
		for _, d := range list.Devices {
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", d.Address, d.State, d.Sensor, d.Readings, clockText(d.LastSeen), valuesText(d.Last))
		}
		return t.Flush()
	}
	cmd.AddCommand(approveCommand(c), &cobra.Command{
		Use: "ignore ADDRESS", Short: "Count a device's readings, but do not store them", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.command(cmd, "/v1/devices/"+url.PathEscape(args[0])+"/ignore", struct{}{}, args[0]+" is ignored; its readings are counted only")
		},
	})
	return cmd
}

func approveCommand(c *client) *cobra.Command {
	var s struct{ id, space, door, class, profile string }
	cmd := &cobra.Command{Use: "approve ADDRESS --sensor ID (--space S | --door D) --class CLASS", Short: "Make a pending device serve a sensor", Args: cobra.ExactArgs(1)}
	f := cmd.Flags()
	f.StringVar(&s.id, "sensor", "", "id of the sensor, a new one or one whose hardware is replaced")
	f.StringVar(&s.space, "space", "", "the space that it observes")
	f.StringVar(&s.door, "door", "", "the door that it observes")
	f.StringVar(&s.class, "class", "", "sensor class: pir, line-tof, desk, …")
	f.StringVar(&s.profile, "profile", "", "sensor model")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case s.id == "":
			return usage(errors.New("--sensor is required: the id that the sensor gets"))
		case (s.space == "") == (s.door == ""):
			return usage(errors.New("say what it observes: --space or --door"))
		case s.class == "" && s.profile == "":
			return usage(errors.New("say what it is: --class or --profile"))
		}
		return c.command(cmd, "/v1/devices/"+url.PathEscape(args[0])+"/approve", omitEmpty(map[string]string{
			"id": s.id, "space": s.space, "door": s.door, "class": s.class, "profile": s.profile,
		}), args[0]+" serves sensor "+s.id)
	}
	return cmd
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// workOrders are the commands that work on orders through the API of a running tier, as the
// holder of a token.
type workOrders struct {
	c         *cli
	url       string
	tokenFile string
	asJSON    bool
}

// workOrder is what the commands show of one.
type workOrder struct {
	ID          string
	Number      string
	Title       string
	Description string
	State       string
	Priority    string
	Domain      string
	Site        string
	Space       string
	Assignee    string
	Reason      string
	Version     int64
	Overdue     bool
	DueIn       *int     `json:"due_in"`
	Moves       []string `json:"moves"`
	Tasks       []struct {
		Title string
		Done  bool
	}
}

func (c *cli) workOrderCommand() *cobra.Command {
	w := &workOrders{c: c}
	cmd := &cobra.Command{
		Use: "wo", Aliases: []string{"work-order", "work-orders"}, Short: "Work orders of a running tier", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&w.url, "url", "http://127.0.0.1:8090", "address of the tier")
	cmd.PersistentFlags().StringVar(&w.tokenFile, "token-file", "", "file that holds the token; its first line, \"secret\" or \"name:secret\"")
	cmd.PersistentFlags().BoolVar(&w.asJSON, "json", false, "print the API's answer")
	cmd.AddCommand(w.list(), w.show(), w.move(), w.note())
	return cmd
}

// call sends a request and returns the answer's body; a refusal is an error with its detail.
func (w *workOrders) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(w.url, "/")+path, &b)
	if err != nil {
		return nil, fmt.Errorf("--url: %w", err)
	}
	if err := w.authorise(req); err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach the tier: %w; is it running, and is --url right?", err)
	}
	defer resp.Body.Close()
	const most = 16 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("reach the tier: %w", err)
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(resp.Status, answer)
	}
	return answer, nil
}

func (w *workOrders) authorise(req *http.Request) error {
	if w.tokenFile == "" {
		return nil
	}
	b, err := os.ReadFile(w.tokenFile)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if name, secret, ok := strings.Cut(line, ":"); ok && !strings.Contains(name, ".") {
		line = secret
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(line))
	return nil
}

// refusal is what a problem says.
func refusal(status string, body []byte) error {
	var p struct{ Detail string }
	if json.Unmarshal(body, &p) == nil && p.Detail != "" {
		return fmt.Errorf("%s: %s", status, p.Detail)
	}
	return errors.New(status)
}

func (w *workOrders) list() *cobra.Command {
	q := url.Values{}
	flags := map[string]string{
		"state": "only these, such as open,in_progress", "assignee": "only of this user; me, none", "site": "only of these sites", "org": "only of these organisations",
		"priority": "only these", "label": "only with this label", "q": "text in number, title or description",
	}
	values := map[string]*string{}
	var overdue bool
	cmd := &cobra.Command{
		Use: "list", Short: "List work orders, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, v := range values {
				if *v != "" {
					q.Set(name, *v)
				}
			}
			if overdue {
				q.Set("overdue", "true")
			}
			q.Set("limit", "500")
			return w.printList(cmd.Context(), q)
		},
	}
	for name, help := range flags {
		values[name] = cmd.Flags().String(name, "", help)
	}
	cmd.Flags().BoolVar(&overdue, "overdue", false, "only those that missed a deadline")
	return cmd
}

func (w *workOrders) printList(ctx context.Context, q url.Values) error {
	b, err := w.call(ctx, http.MethodGet, "/v1/work-orders?"+q.Encode(), nil)
	if err != nil || w.asJSON {
		return w.print(b, err)
	}
	var answer struct {
		WorkOrders []workOrder `json:"work_orders"`
		Next       string
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	out := tabwriter.NewWriter(w.c.stdout, 0, 8, 2, ' ', 0)
	for _, o := range answer.WorkOrders {
		badge := ""
		if o.Overdue {
			badge = "OVERDUE"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Number, o.State, o.Priority, o.Domain, badge, o.Title)
	}
	if answer.Next != "" {
		fmt.Fprintln(w.c.stderr, "there are more; narrow the list")
	}
	return out.Flush()
}

func (w *workOrders) print(b []byte, err error) error {
	if err == nil {
		_, err = w.c.stdout.Write(b)
	}
	return err
}

// find reads an order by its number or id.
func (w *workOrders) find(ctx context.Context, name string) (o workOrder, raw []byte, err error) {
	id := name
	if strings.HasPrefix(strings.ToUpper(name), "WO-") {
		if id, err = w.idOf(ctx, strings.ToUpper(name)); err != nil {
			return o, nil, err
		}
	}
	if raw, err = w.call(ctx, http.MethodGet, "/v1/work-orders/"+url.PathEscape(id), nil); err != nil {
		return o, nil, err
	}
	return o, raw, json.Unmarshal(raw, &o)
}

// idOf finds the one order of a number; several organisations may have it.
func (w *workOrders) idOf(ctx context.Context, number string) (string, error) {
	b, err := w.call(ctx, http.MethodGet, "/v1/work-orders?limit=500&q="+url.QueryEscape(number), nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		WorkOrders []workOrder `json:"work_orders"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	id := ""
	for _, o := range answer.WorkOrders {
		if o.Number == number && id != "" {
			return "", fmt.Errorf("several organisations have %s; name the work order by its id", number)
		}
		if o.Number == number {
			id = o.ID
		}
	}
	if id == "" {
		return "", fmt.Errorf("there is no %s that you may see", number)
	}
	return id, nil
}

func (w *workOrders) show() *cobra.Command {
	return &cobra.Command{
		Use: "show NUMBER|ID", Short: "Show one work order", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, raw, err := w.find(cmd.Context(), args[0])
			if err != nil || w.asJSON {
				return w.print(raw, err)
			}
			fmt.Fprintf(w.c.stdout, "%s  %s\nstate     %s\npriority  %s\ndomain    %s\n", o.Number, o.Title, o.State, o.Priority, o.Domain)
			for _, line := range [][2]string{{"site", o.Site}, {"space", o.Space}, {"assignee", o.Assignee}, {"reason", o.Reason}, {"due in", due(o)}} {
				if line[1] != "" {
					fmt.Fprintf(w.c.stdout, "%-9s %s\n", line[0], line[1])
				}
			}
			for _, t := range o.Tasks {
				fmt.Fprintf(w.c.stdout, "[%s] %s\n", map[bool]string{true: "x", false: " "}[t.Done], t.Title)
			}
			fmt.Fprintf(w.c.stdout, "goes to   %s\nid        %s\n", strings.Join(o.Moves, ", "), o.ID)
			if o.Description != "" {
				fmt.Fprintf(w.c.stdout, "\n%s\n", o.Description)
			}
			return nil
		},
	}
}

func due(o workOrder) string {
	switch {
	case o.DueIn == nil && o.Overdue:
		return "overdue"
	case o.DueIn == nil:
		return ""
	}
	return (time.Duration(*o.DueIn) * time.Second).String()
}

func (w *workOrders) move() *cobra.Command {
	var reason, cost, until string
	cmd := &cobra.Command{
		Use: "move NUMBER|ID STATE", Short: "Change the state of a work order", Args: cobra.ExactArgs(2),
		Example: "  headcount-cloud wo move WO-2026-0001 resolved --reason 'hinge replaced'",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, _, err := w.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			body := map[string]any{"to": args[1], "reason": reason, "version": o.Version}
			if cost != "" {
				body["cost"] = cost
			}
			if until != "" {
				body["until"] = until
			}
			b, err := w.call(cmd.Context(), http.MethodPost, "/v1/work-orders/"+o.ID+"/move", body)
			if err != nil || w.asJSON {
				return w.print(b, err)
			}
			_, err = fmt.Fprintf(w.c.stdout, "%s %s -> %s\n", o.Number, o.State, args[1])
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; some moves need it")
	cmd.Flags().StringVar(&cost, "cost", "", "with waiting_approval, such as '1200 NOK'")
	cmd.Flags().StringVar(&until, "until", "", "with postponed: when it comes back, such as 2026-05-01T08:00:00+02:00")
	return cmd
}

func (w *workOrders) note() *cobra.Command {
	return &cobra.Command{
		Use: "note NUMBER|ID TEXT", Short: "Write a note on a work order", Args: cobra.ExactArgs(2),
		Example: "  headcount-cloud wo note WO-2026-0001 'the part is ordered, @kari'",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, _, err := w.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b, err := w.call(cmd.Context(), http.MethodPost, "/v1/work-orders/"+o.ID+"/notes", map[string]string{"text": args[1]})
			if err != nil || w.asJSON {
				return w.print(b, err)
			}
			return nil
		},
	}
}

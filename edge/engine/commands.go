package engine

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/alerts"
)

// Job is an action to deliver: the event that an alert's channel is to be told. It stays until
// an ActionResult ends it, across restarts.
type Job struct {
	ID      string     `json:"id"`
	Action  string     `json:"action"`
	Created time.Time  `json:"created"`
	Event   edge.Event `json:"event"`
}

func refused(cmd edge.Command, code, reason string) edge.CommandResult {
	return edge.CommandResult{ID: cmd.ID, Code: code, Reason: reason}
}

// command applies or refuses cmd and writes the audit event.
func (c *Core) command(cmd edge.Command) edge.CommandResult {
	res := c.carryOut(cmd)
	if res.Applied {
		c.done = append(c.done, cmd.ID)
		c.done = c.done[max(0, len(c.done)-keepCommands):]
	}
	c.touched = true
	c.emit(edge.Audit, cmd.Subject, c.now, map[string]any{"command": cmd, "applied": res.Applied, "reason": res.Reason})
	return res
}

func (c *Core) carryOut(cmd edge.Command) edge.CommandResult {
	if slices.Contains(c.done, cmd.ID) {
		return edge.CommandResult{ID: cmd.ID, Applied: true, Reason: "was applied before"}
	}
	if !cmd.Deadline.IsZero() && c.now.After(cmd.Deadline) {
		return refused(cmd, "expired", "the command's deadline "+cmd.Deadline.Format(time.RFC3339)+" has passed")
	}
	switch cmd.Kind {
	case edge.AcknowledgeAlert:
		return c.acknowledge(cmd)
	case edge.ApproveDevice:
		return c.approve(cmd)
	case edge.IgnoreDevice:
		if err := c.reg.ignore(cmd.Subject); err != nil {
			return refused(cmd, "conflict", err.Error())
		}
		c.emit(edge.DeviceStatusEvent, cmd.Subject, c.now, map[string]any{"device": cmd.Subject, "state": edge.DeviceIgnored})
		return edge.CommandResult{ID: cmd.ID, Applied: true}
	case edge.CorrectCount:
		return c.correct(cmd)
	case edge.DeniedCommand:
		return refused(cmd, "forbidden", deniedReason(cmd))
	}
	return refused(cmd, "invalid", "command "+string(cmd.Kind)+" is not known")
}

func deniedReason(cmd edge.Command) string {
	var args struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(cmd.Args, &args) != nil || args.Reason == "" {
		return "the caller may not do this"
	}
	return args.Reason
}

func (c *Core) acknowledge(cmd edge.Command) edge.CommandResult {
	var args struct {
		Note string `json:"note"`
	}
	if len(cmd.Args) > 0 {
		if err := json.Unmarshal(cmd.Args, &args); err != nil {
			return refused(cmd, "invalid", "args: "+err.Error())
		}
	}
	events, err := c.rules.Acknowledge(cmd.Subject, cmd.By, args.Note, c.now)
	for _, e := range events { // what fell due until now, even when nothing is acknowledged
		c.follow(e)
	}
	switch {
	case errors.Is(err, alerts.ErrConflict):
		return refused(cmd, "conflict", err.Error())
	case err != nil:
		return refused(cmd, "not_found", err.Error())
	}
	return edge.CommandResult{ID: cmd.ID, Applied: true}
}

func (c *Core) approve(cmd edge.Command) edge.CommandResult {
	var s edge.Sensor
	if err := json.Unmarshal(cmd.Args, &s); err != nil {
		return refused(cmd, "invalid", "args: "+err.Error())
	}
	approved := slices.Clone(c.reg.approved)
	if err := c.reg.approve(cmd.Subject, s); err != nil {
		return refused(cmd, "invalid", err.Error())
	}
	if err := c.configure(c.setup); err != nil { // the estimator refuses it: leave all as it was
		c.reg.approved = approved
		return refused(cmd, "invalid", err.Error())
	}
	c.emit(edge.DeviceStatusEvent, cmd.Subject, c.now, map[string]any{"device": cmd.Subject, "state": edge.DeviceApproved, "sensor": s.ID})
	return edge.CommandResult{ID: cmd.ID, Applied: true}
}

func (c *Core) correct(cmd edge.Command) edge.CommandResult {
	var args struct {
		Count  *int   `json:"count"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(cmd.Args, &args); err != nil || args.Count == nil || *args.Count < 0 {
		return refused(cmd, "invalid", `args: want {"count": N, "reason": "…"} with N >= 0`)
	}
	before, err := c.model.Correct(cmd.Subject, *args.Count, c.now)
	if err != nil {
		return refused(cmd, "not_found", err.Error())
	}
	c.emit(edge.Correction, cmd.Subject, c.now, map[string]any{
		"space": cmd.Subject, "by": cmd.By, "reason": args.Reason, "before": before.Count, "after": *args.Count,
	})
	return edge.CommandResult{ID: cmd.ID, Applied: true}
}

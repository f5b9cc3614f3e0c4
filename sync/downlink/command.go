package downlink

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/token"
	"github.com/headcount-hub/headcount/sync/wire"
)

// maxCommand bounds how long a command may take whatever its deadline says.
const maxCommand = 30 * time.Second

// maxID is the longest id of a command in bytes.
const maxID = 128

// command answers one request; the answer is an edge.CommandResult.
func (d *Downlink) command(ctx context.Context, body []byte) []byte {
	var req wire.Command
	res := edge.CommandResult{Code: "invalid", Reason: "the command is no JSON of its kind"}
	if err := json.Unmarshal(body, &req); err == nil {
		res = d.carryOut(ctx, req)
	}
	if !res.Applied {
		d.opts.Log.Warn("command refused", "id", res.ID, "kind", req.Command.Kind, "subject", req.Command.Subject, "by", req.By, "reason", res.Reason)
	}
	b, err := json.Marshal(res)
	if err != nil {
		return []byte(`{"applied":false,"code":"invalid","reason":"the result cannot be encoded"}`)
	}
	return b
}

func (d *Downlink) carryOut(ctx context.Context, req wire.Command) edge.CommandResult {
	cmd := req.Command
	cmd.By, cmd.Deadline = req.By, req.Deadline
	refuse := func(code, reason string) edge.CommandResult {
		return edge.CommandResult{ID: cmd.ID, Code: code, Reason: reason}
	}
	now := d.opts.Now()
	switch {
	case cmd.ID == "" || len(cmd.ID) > maxID || cmd.Kind == edge.DeniedCommand:
		return refuse("invalid", "the command has no id, or no kind of its own")
	case req.Deadline.IsZero():
		return refuse("invalid", "the command has no deadline")
	case now.After(req.Deadline):
		return refuse("expired", "the command's deadline "+req.Deadline.Format(time.RFC3339)+" has passed; here it is "+now.Format(time.RFC3339))
	}
	ctx, cancel := context.WithTimeout(ctx, min(req.Deadline.Sub(now), maxCommand))
	defer cancel()
	if who, err := d.caller(req); err != nil {
		return d.deny(ctx, cmd, err.Error())
	} else if who != "" {
		cmd.By = who
	}
	res, err := d.opts.Site.Do(ctx, cmd)
	if err != nil {
		return refuse("unavailable", "it is not known whether it was applied: "+err.Error())
	}
	return res
}

// caller names the caller when its token allows commands here. Where the cloud never said by
// which keys it signs, its word has to do.
func (d *Downlink) caller(req wire.Command) (string, error) {
	if !d.opts.Auth.Known() {
		return "", nil
	}
	if req.Token == "" {
		return "", errors.New("the command carries no token")
	}
	id, err := d.opts.Auth.Verify(req.Token)
	if err != nil {
		return "", err
	}
	least := token.Operator
	if k := req.Command.Kind; k == edge.ApproveDevice || k == edge.IgnoreDevice {
		least = token.Manager // as by the hub's own API
	}
	switch have := id.RoleIn(d.opts.Auth.Domains()); {
	case id.Kind == token.Device || !id.Allows("write") && !id.Allows(token.CommandPermission):
		return "", errors.New("the token is not for commands")
	case have < least:
		return "", errors.New("this needs the role " + least.String() + " at this site; the caller's is " + have.String())
	}
	return id.Who(), nil
}

// deny has it noted by the site that a command was refused before it came there.
func (d *Downlink) deny(ctx context.Context, cmd edge.Command, reason string) edge.CommandResult {
	args, _ := json.Marshal(map[string]string{"id": cmd.ID, "kind": string(cmd.Kind), "reason": reason}) // text always encodes
	note := edge.Command{ID: cmd.ID + "/denied", Kind: edge.DeniedCommand, Subject: cmd.Subject, By: cmd.By, Args: args}
	if _, err := d.opts.Site.Do(ctx, note); err != nil {
		d.opts.Log.Warn("a refused command was not noted", "id", cmd.ID, "err", err)
	}
	return edge.CommandResult{ID: cmd.ID, Code: "forbidden", Reason: reason}
}

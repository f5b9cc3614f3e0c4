package config

import (
	"slices"
	"time"
)

type actionKind struct {
	kind ActionKind
	keys []string
}

// actionKinds says which further keys an action of each kind takes.
var actionKinds = []actionKind{
	{WebhookAction, []string{"secret_file", "format", "timeout"}},
	{MailAction, []string{"smtp", "from", "password_file", "ca_file", "timeout"}},
	{NtfyAction, []string{"token_file", "timeout"}},
	{ChatAction, []string{"timeout"}},
	{MQTTAction, []string{"password_file", "ca_file", "payload", "retain", "timeout"}},
	{SMSAction, []string{"url", "body", "secret_file", "modem", "baud", "pin_file", "timeout"}},
	{LogAction, []string{"timeout"}}, // the effective document has the default of all
}

func (b *builder) actions(out map[string]Action) {
	n := b.root.get("actions")
	if n == nil {
		return
	}
	for _, m := range n.members {
		if m.value.kind == mapNode {
			out[m.key] = b.action(m, join("actions", m.key))
		}
	}
}

// action reads one action; mistakes are reported.
func (b *builder) action(m member, path string) Action {
	v := m.value
	a := Action{Pos: m.keyPos, Timeout: duration(v, "timeout"), Format: v.str("format")}
	var own []string
	for _, k := range actionKinds {
		switch {
		case v.get(string(k.kind)) == nil:
		case a.Kind != "":
			b.ps.add(v.get(string(k.kind)), join(path, string(k.kind)), "make two actions of it", "there is a %s already", a.Kind)
		default:
			a.Kind, own = k.kind, append(k.keys, string(k.kind))
		}
	}
	if a.Kind == "" {
		b.ps.addAt(m.keyPos, path, "write webhook: https://…, mail, ntfy, chat, mqtt, sms, or log: true", "does nothing")
		return a
	}
	for _, given := range v.members {
		if !slices.Contains(own, given.key) && ofOtherKind(given.key) && written(given.value) {
			b.ps.add(given.value, join(path, given.key), "delete it", "is not for %s", plural(a.Kind))
		}
	}
	if _, err := ParseDuration(v.str("timeout")); err == nil && a.Timeout < time.Second && a.Kind != LogAction {
		b.ps.add(v.get("timeout"), join(path, "timeout"), "", "must be at least 1s, not %s", v.str("timeout"))
	}
	b.actionDetails(&a, v, path, m.keyPos)
	return a
}

// written tells whether somebody wrote a value; else it is a default of the schema.
func written(n *node) bool { return n != nil && (n.pos.Line > 0 || n.pos.Env != "") }

// ofOtherKind tells whether some kind of action takes a key; the schema reports those that none does.
func ofOtherKind(key string) bool {
	return slices.ContainsFunc(actionKinds, func(k actionKind) bool { return slices.Contains(k.keys, key) })
}

func plural(k ActionKind) string {
	if k == WebhookAction {
		return "webhooks"
	}
	return string(k)
}

// actionDetails reads what an action of its kind needs.
func (b *builder) actionDetails(a *Action, v *node, path string, pos Position) {
	a.SecretFile, a.CAFile = b.file(v.str("secret_file")), b.file(v.str("ca_file"))
	switch a.Kind {
	case LogAction:
		if !v.boolean("log") {
			b.ps.add(v.get("log"), join(path, "log"), "delete the action or write log: true", "switches off all that the action does")
		}
	case WebhookAction:
		a.Webhook = v.str("webhook")
	case MailAction:
		a.To, a.Server, a.From, a.Password = v.texts("mail"), v.str("smtp"), v.str("from"), b.file(v.str("password_file"))
		for _, key := range []string{"smtp", "from"} {
			if v.str(key) == "" {
				b.ps.addAt(pos, path, map[string]string{"smtp": "as in smtps://user@mail.example.org:465", "from": "as in hub@example.org"}[key], "%s is missing", key)
			}
		}
	case NtfyAction:
		a.URL, a.Password = v.str("ntfy"), b.file(v.str("token_file"))
	case ChatAction:
		a.URL = v.str("chat")
	case MQTTAction:
		a.URL, a.Password, a.Payload, a.Retain = v.str("mqtt"), b.file(v.str("password_file")), v.str("payload"), v.boolean("retain")
	case SMSAction:
		b.sms(a, v, path, pos)
	}
}

// modemTimeout is how long a text message may take when nothing is said: networks are slow.
const modemTimeout = time.Minute

func (b *builder) sms(a *Action, v *node, path string, pos Position) {
	a.To, a.URL, a.Body, a.Modem, a.Password = v.texts("sms"), v.str("url"), v.str("body"), v.str("modem"), b.file(v.str("pin_file"))
	a.Baud = int(v.number("baud"))
	if (a.URL == "") == (a.Modem == "") {
		b.ps.addAt(pos, path, "write modem: /dev/serial/by-id/… or url: https://…", "needs one of modem and url")
		return
	}
	forURL, forModem := []string{"body", "secret_file"}, []string{"baud", "pin_file"}
	wrong, what := forModem, "a modem"
	if a.Modem != "" {
		wrong, what = forURL, "url"
		if !written(v.get("timeout")) {
			a.Timeout = modemTimeout
		}
	}
	for _, key := range wrong {
		if given := v.get(key); given != nil {
			b.ps.add(given, join(path, key), "delete it", "is for %s only", what)
		}
	}
}

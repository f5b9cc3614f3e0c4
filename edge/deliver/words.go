package deliver

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge"
)

// Place says where an alert is, in the words of people.
type Place struct {
	Site  string         // its name
	Space string         // the name of the space or sensor; empty = the id in the alert
	Zone  *time.Location // of the times in texts; nil = UTC
	Link  string         // page of the alert; may be empty
}

// PlaceOf finds the names of an alert's place in the site's model.
func PlaceOf(s edge.Site, a edge.Alert, link string) Place {
	p := Place{Site: s.Name, Link: link, Zone: time.UTC}
	if p.Site == "" {
		p.Site = s.ID
	}
	if zone, err := time.LoadLocation(s.Timezone); err == nil {
		p.Zone = zone
	}
	for _, space := range s.Spaces {
		if space.ID == a.Subject && space.Name != "" {
			p.Space = space.Name
		}
	}
	for _, sensor := range s.Sensors {
		if sensor.ID == a.Subject && sensor.Name != "" {
			p.Space = sensor.Name
		}
	}
	return p
}

// AlertWords says what an event about an alert means: what, where, since when, what to do.
func AlertWords(typ edge.EventType, a edge.Alert, p Place) Words {
	where := p.Space
	if where == "" {
		where = a.Subject
	}
	what := a.Message
	if what == "" {
		what = a.Rule + ": " + where
	}
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", label+":", text)
		}
	}
	line("What", what)
	line("Where", strings.TrimPrefix(where+", "+p.Site, ", "))
	line("Since", at(a.Since, p.Zone))
	title := fmt.Sprintf("[%s] %s: %s", a.Severity, p.Site, what)
	switch typ {
	case edge.AlertCleared:
		title = fmt.Sprintf("[cleared] %s: %s", p.Site, what)
		line("Cleared", at(a.ClearedAt, p.Zone))
	case edge.AlertAcknowledged:
		title = fmt.Sprintf("[acknowledged] %s: %s", p.Site, what)
		line("By", a.AcknowledgedBy)
	default:
		line("What to do", advice(a))
	}
	line("More", p.Link)
	return Words{Title: oneLine(title), Text: b.String(), Severity: a.Severity, Link: p.Link}
}

// advice says what helps with an alert.
func advice(a edge.Alert) string {
	switch {
	case a.Rule == "hub-offline":
		return "check the hub's power and network; its numbers are old until it is back"
	case a.SubjectKind == "sensor":
		return "check the sensor's power, place and connection"
	case a.SubjectKind == "hub":
		return "look at the hub's status page"
	}
	return "look at the place; acknowledge when somebody takes care"
}

func at(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format("Mon 2 Jan 2006 15:04:05 MST")
}

// oneLine makes a title safe for headers and one-line displays.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// words returns the message's words; a message without any is described by its type and data.
func (m Message) words() Words {
	if m.Title != "" {
		return m.Words
	}
	var a edge.Alert
	if strings.HasPrefix(m.Type, "alert.") && json.Unmarshal(m.Data, &a) == nil && a.ID != "" {
		w := AlertWords(edge.EventType(m.Type), a, Place{Site: m.Source})
		w.Ack = m.Ack
		return w
	}
	w := m.Words
	w.Title = oneLine(m.Type + " " + m.Subject)
	return w
}

// plain is title and text for channels that have one field.
func (w Words) plain() string {
	return strings.TrimSpace(w.Title + "\n" + w.Text + ackLine(w))
}

func ackLine(w Words) string {
	if w.Ack == "" {
		return ""
	}
	return fmt.Sprintf("%-10s %s\n", "Acknowledge:", w.Ack)
}

// alertmanager is the message in the form of Alertmanager's webhook, version 4.
func (m Message) alertmanager() ([]byte, error) {
	var a edge.Alert
	if err := json.Unmarshal(m.Data, &a); err != nil || a.ID == "" {
		a = edge.Alert{ID: m.Key, Rule: m.Type, Subject: m.Subject, Severity: m.Severity, Since: m.At, RaisedAt: m.At}
	}
	w := m.words()
	status := "firing"
	if m.Type == string(edge.AlertCleared) {
		status = "resolved"
	}
	labels := map[string]string{"alertname": a.Rule, "severity": string(a.Severity), "instance": m.Source, "subject": a.Subject, "alert_id": a.ID}
	notes := map[string]string{"summary": w.Title, "description": strings.TrimSpace(w.Text)}
	type entry struct {
		Status       string            `json:"status"`
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
		StartsAt     time.Time         `json:"startsAt"`
		EndsAt       time.Time         `json:"endsAt"`
		GeneratorURL string            `json:"generatorURL"`
		Fingerprint  string            `json:"fingerprint"`
	}
	return json.Marshal(map[string]any{
		"version": "4", "groupKey": m.Source + "/" + a.Rule, "truncatedAlerts": 0, "status": status, "receiver": "headcount",
		"groupLabels": map[string]string{"alertname": a.Rule}, "commonLabels": labels, "commonAnnotations": notes, "externalURL": w.Link,
		"alerts": []entry{{status, labels, notes, a.RaisedAt, a.ClearedAt, w.Link, fingerprint(m.Source + "/" + a.ID)}},
	})
}

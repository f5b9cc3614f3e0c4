package natslink_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/cloud/bus"
	"github.com/headcount-hub/headcount/sync/natslink"
	"github.com/headcount-hub/headcount/sync/wire"
)

// A hub answers requests under its own subjects only, with the permissions it really has.
func TestServeAnswersUnderTheSitesOwnSubjects(t *testing.T) {
	b := startBus(t, bus.Options{})
	l, err := natslink.Open(natslink.Options{URL: b.ClientURL(), Org: "acme", Site: "oslo", CredentialsFile: credentials(t, b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	heard := make(chan string, 4)
	stop, err := l.Serve(wire.DownCommand, func(body []byte) []byte { heard <- string(body); return append([]byte("did "), body...) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	answers, err := b.Conn().SubscribeSync(wire.UpSubject("acme", "oslo", wire.UpAnswer+".1"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := b.Conn().SubscribeSync("up.acme.rome.answer.1")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(reply string) {
		if err := b.Conn().PublishMsg(&nats.Msg{Subject: wire.DownSubject("acme", "oslo", wire.DownCommand), Reply: reply, Data: []byte(reply)}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(limit); ; { // until the subscription has arrived at the server
		ask("up.acme.oslo.answer.1")
		m, err := answers.NextMsg(100 * time.Millisecond)
		if err == nil && m.Header.Get("Status") != "503" {
			if got := string(m.Data); got != "did up.acme.oslo.answer.1" {
				t.Errorf("answer %q", got)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no answer: %v", err)
		}
	}
	<-heard
	ask("up.acme.rome.answer.1")
	ask("up.acme.oslo.answer.1")
	for {
		if got := <-heard; got == "up.acme.oslo.answer.1" {
			break
		} else if got == "up.acme.rome.answer.1" {
			t.Error("a request with a foreign reply subject was heard")
		}
	}
	if m, err := elsewhere.NextMsg(10 * time.Millisecond); err == nil {
		t.Errorf("something was published under another site: %q", m.Data)
	}
}

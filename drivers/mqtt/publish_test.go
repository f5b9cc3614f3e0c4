package mqtt

import (
	"context"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

func TestPublishedMessageArrivesAndIsKept(t *testing.T) {
	s := newServer(t, "")
	p := &Publisher{Server: "mqtt://" + s.addr}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Publish(ctx, "lamps/door", []byte("on"), true); err != nil {
		t.Fatal(err)
	}
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + s.addr).SetClientID("lamp").SetAutoReconnect(false))
	if tok := client.Connect(); !tok.WaitTimeout(5*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer client.Disconnect(0)
	got := make(chan string, 1)
	client.Subscribe("lamps/#", 1, func(_ paho.Client, m paho.Message) { got <- m.Topic() + "=" + string(m.Payload()) })
	select {
	case m := <-got:
		if m != "lamps/door=on" {
			t.Errorf("the lamp got %q", m)
		}
	case <-ctx.Done():
		t.Fatal("nothing arrived")
	}
}

func TestPublishTellsWhatIsWrong(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := (&Publisher{Server: "mqtt://" + freeAddr(t)}).Publish(ctx, "x", nil, false); err == nil {
		t.Error("no broker, and no error")
	}
	for _, bad := range []string{"", "http://x", "mqtt://"} {
		if (&Publisher{Server: bad}).Check() == nil {
			t.Errorf("server %q was accepted", bad)
		}
	}
	if (&Publisher{Server: "mqtt://x", PasswordFile: "/nonexistent"}).Check() == nil {
		t.Error("a password file that is not there was accepted")
	}
}

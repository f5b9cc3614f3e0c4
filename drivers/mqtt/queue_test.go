package mqtt

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/drivers/profiles"
)

// arrived is a message as paho hands it over.
type arrived struct {
	paho.Message // only the methods below are used
	topic        string
	qos          byte
	body         string
	acked        func()
}

func (a arrived) Topic() string   { return a.topic }
func (a arrived) Qos() byte       { return a.qos }
func (a arrived) Retained() bool  { return false }
func (a arrived) Payload() []byte { return []byte(a.body) }
func (a arrived) Ack()            { a.acked() }

func testQueue(t *testing.T) *queue {
	b, err := profiles.NewBindings(Name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newQueue(b)
}

// A flood with QoS 0 never blocks paho's reader; what does not fit is counted.
func TestFloodIsBoundedAndCounted(t *testing.T) {
	q, sink := testQueue(t), drivertest.NewSink()
	const n = maxWaiting + 500
	for i := range n {
		q.push(arrived{topic: "door", body: fmt.Sprintf(`{"count_in":%d}`, i)})
	}
	q.close()
	if err := q.deliver(context.Background(), sink); err != nil {
		t.Fatal(err)
	}
	if got, lost := len(sink.Readings()), sink.Rejected(); got != maxWaiting || lost != 500 {
		t.Errorf("%d stored and %d counted as lost, want %d and 500", got, lost, maxWaiting)
	}
}

// QoS 1 messages that do not fit end the connection; none of those behind them overtakes them.
func TestTooManyUnacknowledgedEndTheConnection(t *testing.T) {
	q, sink := testQueue(t), drivertest.NewSink()
	acks := 0
	for i := range maxWaiting + 2 {
		q.push(arrived{topic: "door", qos: 1, body: fmt.Sprintf(`{"count_in":%d}`, i), acked: func() { acks++ }})
	}
	if err := q.deliver(context.Background(), sink); !errors.Is(err, errFull) {
		t.Fatalf("deliver: %v, want %v", err, errFull)
	}
	q.push(arrived{topic: "door", qos: 1, body: `{"count_in":9999}`, acked: func() { acks++ }})
	if acks != maxWaiting || len(sink.Readings()) != maxWaiting || len(q.waiting) != 0 {
		t.Errorf("%d acknowledged, %d stored, %d waiting; want %d, %d, 0", acks, len(sink.Readings()), len(q.waiting), maxWaiting, maxWaiting)
	}
}

// When the connection is gone, QoS 1 messages come again and are left out; QoS 0 do not.
func TestCloseKeepsWhatComesOnlyOnce(t *testing.T) {
	q, sink := testQueue(t), drivertest.NewSink()
	q.push(arrived{topic: "a", qos: 1, body: `{"count_in":1}`, acked: func() { t.Error("acknowledged after the connection was lost") }})
	q.push(arrived{topic: "b", body: `{"count_in":2}`})
	q.close()
	if err := q.deliver(context.Background(), sink); err != nil {
		t.Fatal(err)
	}
	if got := sink.Readings(); len(got) != 1 || got[0].Device != "b" {
		t.Errorf("stored %v, want b alone", got)
	}
}

func TestDeliverEndsWithItsContext(t *testing.T) {
	q, sink := testQueue(t), drivertest.NewSink()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.deliver(ctx, sink) }()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("deliver: %v", err)
		}
	case <-time.After(drivertest.Patience):
		t.Fatal("deliver did not return")
	}
}

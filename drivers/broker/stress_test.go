package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/drivers/drivertest"
	"github.com/headcount-hub/headcount/edge"
)

// flaky is a sink that fails at random and remembers what it has stored.
type flaky struct {
	mu     sync.Mutex
	rng    *rand.Rand
	stored map[string][]int // by device, in order; repeated messages included
	up     chan struct{}
}

func (s *flaky) Put(_ context.Context, rs ...edge.Reading) ([]edge.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rng.IntN(10) == 0 {
		return nil, errors.New("told to fail")
	}
	for _, r := range rs {
		s.stored[r.Device] = append(s.stored[r.Device], int(r.Values[0].Num))
	}
	return make([]edge.Outcome, len(rs)), nil
}

func (s *flaky) Reject(context.Context, edge.Rejection) error { return nil }
func (s *flaky) Status(drivers.Status)                        { s.up <- struct{}{} }

func (s *flaky) has(device string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.stored[device] {
		if m == n {
			return true
		}
	}
	return false
}

// However often the sink fails and connections break, what is acknowledged is stored, and what
// one client sends for the first time arrives in its order.
func TestAcknowledgedIsStored(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	sink := &flaky{rng: rand.New(rand.NewPCG(seed, 1)), stored: map[string][]int{}, up: make(chan struct{}, 1)}
	d := newBroker(t, nil)
	start(t, d, sink)
	<-sink.up
	const clients, each = 6, 150
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(c)+2))
			deadline := time.Now().Add(2 * drivertest.Patience)
			for next := 1; next <= each; {
				if time.Now().After(deadline) {
					t.Errorf("client %d got no further than %d", c, next)
					return
				}
				next = sendFrom(t, d, sink, rng, fmt.Sprintf("c%d", c), next, each)
			}
		})
	}
	wg.Wait()
	for device, got := range sink.stored {
		highest := 0
		for _, n := range got {
			if n > highest+1 {
				t.Errorf("%s: %d was stored before %d", device, n, highest+1)
			}
			highest = max(highest, n)
		}
	}
}

// sendFrom connects, sends what is not acknowledged yet, all at once, and reads
// acknowledgements until the connection ends, by the broker or at random. It returns the first
// message that was not acknowledged.
func sendFrom(t *testing.T, d *Driver, sink *flaky, rng *rand.Rand, id string, next, last int) int {
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		t.Error(err)
		return last + 1
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(drivertest.Patience))
	con := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	con.ProtocolName, con.ProtocolVersion, con.ClientIdentifier, con.Keepalive = "MQTT", 4, id, 30
	if con.Write(c) != nil {
		return next
	}
	if _, err := packets.ReadPacket(c); err != nil {
		return next
	}
	go func(from int) {
		for n := from; n <= last; n++ {
			if publish(uint16(n), 1, "sensors/"+id, fmt.Sprintf(`{"count_in":%d}`, n)).Write(c) != nil {
				return
			}
		}
	}(next)
	for give := rng.IntN(last); next <= last && give > 0; give-- {
		pk, err := packets.ReadPacket(c)
		if err != nil {
			return next
		}
		ack, ok := pk.(*packets.PubackPacket)
		if !ok || int(ack.MessageID) != next {
			t.Errorf("%s: got %v, want the acknowledgement of %d", id, pk, next)
			return last + 1
		}
		if !sink.has("sensors/"+id, next) {
			t.Errorf("%s: %d is acknowledged and not stored", id, next)
		}
		next++
	}
	return next
}

package broker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/headcount-hub/headcount/drivers"
	"github.com/headcount-hub/headcount/edge"
)

// atOnce is a sink that has always stored everything.
type atOnce struct{ up chan struct{} }

func (s atOnce) Put(_ context.Context, rs ...edge.Reading) ([]edge.Outcome, error) { return nil, nil }
func (s atOnce) Reject(context.Context, edge.Rejection) error                      { return nil }
func (s atOnce) Status(st drivers.Status) {
	if st.Up {
		close(s.up)
	}
}

// BenchmarkBrokerQoS1 is one client with 1,000 messages in flight and a sink that returns at
// once: what the broker itself costs.
func BenchmarkBrokerQoS1(b *testing.B) {
	d, sink := newBroker(b, nil), atOnce{make(chan struct{})}
	start(b, d, sink)
	<-sink.up
	c, err := net.Dial("tcp", d.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	con := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	con.ProtocolName, con.ProtocolVersion, con.ClientIdentifier, con.CleanSession = "MQTT", 4, "bench", true
	if err := con.Write(c); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		b.Fatal(err)
	}
	const inFlight = 1000
	var wire bytes.Buffer
	for i := range inFlight {
		body := fmt.Sprintf(`{"sensor":"door-%d","ts":1763700000%03d,"count_in":%d,"count_out":%d}`, i%50, i, i, i)
		if err := publish(uint16(i+1), 1, "sensors/door", body).Write(&wire); err != nil {
			b.Fatal(err)
		}
	}
	msg := wire.Bytes()
	ends := make([]int, 0, inFlight)
	for r, n := bytes.NewReader(msg), 0; n < inFlight; n++ {
		if _, err := packets.ReadPacket(r); err != nil {
			b.Fatal(err)
		}
		ends = append(ends, len(msg)-r.Len())
	}
	acks := bufio.NewReaderSize(c, 64<<10)
	buf := make([]byte, 4)
	b.ReportAllocs()
	b.ResetTimer()
	// Half of the window is written whenever half of it was acknowledged.
	const half = inFlight / 2
	write := func(at int) {
		from := 0
		if at > 0 {
			from = ends[at-1]
		}
		if _, err := c.Write(msg[from:ends[at+half-1]]); err != nil {
			b.Fatal(err)
		}
	}
	write(0)
	for n := 0; n < b.N; {
		at := (n + half) % inFlight
		if at%half == 0 {
			write(at)
		}
		for range half {
			if _, err := io.ReadFull(acks, buf); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

//go:build bench && linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The load: door counters of 96 rooms that report their running totals with a sequence of their
// own, a day in as little time as the server takes. Every second report has news.
const (
	benchRooms  = 96
	mqttClients = 12
	mqttWindow  = 1000 // messages of a client that are not acknowledged yet
	httpConns   = 6
	httpBatch   = 500
	benchDay    = 20 * time.Hour

	// With a sync for every message and mqttWindow in flight, NATS was seen to close all
	// connections when the disk was busy.
	alwaysWindow = 64
)

func doorID(n int) string { return fmt.Sprintf("door-%02d", n) }

// counterLoad makes one client's share of the messages: every clients-th door, n reports in all.
type counterLoad struct {
	doors []int
	each  int // reports per door
	begin time.Time
	next  int
}

func newCounterLoad(client, clients, n int, now time.Time) *counterLoad {
	l := &counterLoad{begin: now.Add(-benchDay)}
	for d := client; d < benchRooms; d += clients {
		l.doors = append(l.doors, d)
	}
	l.each = n / len(l.doors)
	return l
}

func (l *counterLoad) len() int { return l.each * len(l.doors) }

// report appends the next report's JSON: about 85 bytes.
func (l *counterLoad) report(b []byte) (door int, _ []byte) {
	door, seq := l.doors[l.next%len(l.doors)], l.next/len(l.doors)
	l.next++
	at := l.begin.Add(benchDay * time.Duration(seq) / time.Duration(l.each))
	in, out := totals(seq)
	b = append(append(b, `{"sensor":"`...), doorID(door)...)
	b = strconv.AppendInt(append(b, `","ts":`...), at.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, `,"seq":`...), int64(seq), 10)
	b = strconv.AppendInt(append(b, `,"count_in":`...), int64(in), 10)
	b = strconv.AppendInt(append(b, `,"count_out":`...), int64(out), 10)
	return door, append(b, '}')
}

// totals are a door's counters at its report number seq: a few people are in the room.
func totals(seq int) (in, out int) { return (seq + 3) / 4, max(0, (seq+1)/4-2) }

// mqttMessages are a client's PUBLISH packets, encoded before the clock runs.
type mqttMessages struct {
	wire []byte
	ends []int
}

func mqttShare(client, n int) *mqttMessages {
	l := newCounterLoad(client, mqttClients, n, time.Now())
	m := &mqttMessages{ends: make([]int, 0, l.len()), wire: make([]byte, 0, l.len()*112)}
	var body, topic []byte
	for i := range l.len() {
		var door int
		door, body = l.report(body[:0])
		topic = append(append(topic[:0], "sensors/"...), doorID(door)...)
		id := i%60000 + 1
		m.wire = append(m.wire, 0x32)
		for n := 2 + len(topic) + 2 + len(body); ; n >>= 7 {
			if n < 0x80 {
				m.wire = append(m.wire, byte(n))
				break
			}
			m.wire = append(m.wire, byte(n)|0x80)
		}
		m.wire = append(m.wire, byte(len(topic)>>8), byte(len(topic)))
		m.wire = append(append(m.wire, topic...), byte(id>>8), byte(id))
		m.wire = append(m.wire, body...)
		m.ends = append(m.ends, len(m.wire))
	}
	return m
}

// mqttConnect opens a session.
func mqttConnect(addr, id string, clean bool) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.ClientIdentifier, hello.CleanSession = "MQTT", 4, id, clean
	if err := hello.Write(c); err != nil {
		return nil, err
	}
	answer, err := packets.ReadPacket(c)
	if err != nil {
		return nil, err
	}
	if a, ok := answer.(*packets.ConnackPacket); !ok || a.ReturnCode != packets.Accepted {
		return nil, fmt.Errorf("connect: %v", answer)
	}
	return c, nil
}

// mqttInterest leaves a persistent QoS 1 subscription behind, without which NATS acknowledges
// MQTT messages but stores none.
func mqttInterest(t *testing.T, addr string) {
	c, err := mqttConnect(addr, "keeper", false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sub := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	sub.MessageID, sub.Topics, sub.Qoss = 1, []string{"sensors/#"}, []byte{1}
	if err := sub.Write(c); err != nil {
		t.Fatal(err)
	}
	if _, err := packets.ReadPacket(c); err != nil {
		t.Fatal(err)
	}
	if err := packets.NewControlPacket(packets.Disconnect).Write(c); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, c) // until the server has closed
}

// pump publishes all messages, at most window ahead of the acknowledgements, and returns when the
// last is acknowledged.
func (m *mqttMessages) pump(c net.Conn, window int) error {
	acks := make([]byte, 0, 64<<10)
	sent, acked := 0, 0
	for acked < len(m.ends) {
		if upTo := min(acked+window, len(m.ends)); upTo > sent && (upTo-sent >= window/4 || upTo == len(m.ends)) {
			from := 0
			if sent > 0 {
				from = m.ends[sent-1]
			}
			if _, err := c.Write(m.wire[from:m.ends[upTo-1]]); err != nil {
				return err
			}
			sent = upTo
		}
		n, err := c.Read(acks[len(acks):cap(acks)])
		if err != nil {
			return fmt.Errorf("after %d of %d acknowledgements: %w", acked, len(m.ends), err)
		}
		acks = acks[:len(acks)+n]
		whole := len(acks) / 4 * 4
		for i := 0; i < whole; i += 4 {
			if id := acked%60000 + 1; acks[i] != 0x40 || int(acks[i+2])<<8|int(acks[i+3]) != id {
				return fmt.Errorf("got % x, want the acknowledgement of %d", acks[i:i+4], id)
			}
			acked++
		}
		acks = append(acks[:0], acks[whole:]...)
	}
	return nil
}

// mqttLoad publishes n messages with QoS 1 and returns how many there were and how long it took
// until the last was acknowledged.
func mqttLoad(t *testing.T, addr string, n, window int) (int, time.Duration) {
	shares := make([]*mqttMessages, mqttClients)
	conns := make([]net.Conn, mqttClients)
	total := 0
	for i := range shares {
		shares[i] = mqttShare(i, n/mqttClients)
		total += len(shares[i].ends)
		c, err := mqttConnect(addr, fmt.Sprintf("load-%d", i), true)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	return total, together(t, mqttClients, func(i int) error { return shares[i].pump(conns[i], window) })
}

// httpLoad posts n readings in batches of httpBatch lines.
func httpLoad(t *testing.T, addr string, n int) (int, time.Duration) {
	requests := make([][][]byte, httpConns)
	total := 0
	for i := range requests {
		l := newCounterLoad(i, httpConns, n/httpConns, time.Now())
		for done := 0; done < l.len(); done += httpBatch {
			var body []byte
			for range min(httpBatch, l.len()-done) {
				_, body = l.report(body)
				body = append(body, '\n')
				total++
			}
			head := fmt.Appendf(nil, "POST /v1/readings HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n", addr, len(body))
			requests[i] = append(requests[i], append(head, body...))
		}
	}
	return total, together(t, httpConns, func(i int) error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for _, req := range requests[i] {
			if _, err := c.Write(req); err != nil {
				return err
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			if want := fmt.Sprintf(`"accepted":%d,`, bytes.Count(req, []byte(`"sensor"`))); res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(want)) {
				return fmt.Errorf("answer %s %s, want %s", res.Status, body, want)
			}
		}
		return nil
	})
}

// together runs n senders at once and returns how long they took.
func together(t *testing.T, n int, send func(i int) error) time.Duration {
	t.Helper()
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() {
			if err := send(i); err != nil {
				t.Errorf("sender %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return time.Since(start)
}

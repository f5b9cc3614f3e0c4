//go:build integration

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// feed sends readings by every transport, each until it is acknowledged, and is the oracle of
// what was: a ledger outside of everything that is killed.
type feed struct {
	t     *testing.T
	first int // sequence of each sensor's first reading
	stop  chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	acked map[string]int // newest sequence acknowledged, by sensor; all from first to it are
	total int64
	news  chan struct{} // closed and replaced at each acknowledgement
}

// send delivers one reading of a sensor and returns when it was acknowledged; an error means
// that this is not known, and the same bytes are sent again.
type send func(ctx context.Context, sensor string, seq int, body []byte) error

// again is the pause of a sensor that was not answered.
const again = 5 * time.Millisecond

// feed starts the sensors of these transports; their readings count from first.
func (r *rig) feed(first int, via ...string) *feed {
	f := &feed{t: r.t, first: first, stop: make(chan struct{}), acked: map[string]int{}, news: make(chan struct{})}
	ctx, cancel := context.WithCancel(r.t.Context())
	for _, transport := range via {
		for n := range perTransport {
			sensor := fmt.Sprintf("%s-%d", transport, n)
			f.wg.Go(func() { f.run(ctx, sensor, r.sender(transport)) })
		}
	}
	r.t.Cleanup(func() { cancel(); f.wg.Wait() })
	return f
}

func (r *rig) sender(transport string) send {
	switch transport {
	case "broker":
		return byMQTT(r.brokerURL, "sensors")
	case "mosquitto":
		return byMQTT(r.mosquitto, "mosquitto")
	case "lines":
		return r.serial.send
	}
	return byHTTP(r.hubURL)
}

func (f *feed) run(ctx context.Context, sensor string, s send) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for seq := f.first; ; seq++ {
		if n, ok := strings.CutPrefix(sensor, "mosquitto"); ok && !f.follow("http"+n, seq-ahead) {
			return
		}
		for b := body(sensor, seq); s(ctx, sensor, seq, b) != nil; {
			pause.Reset(again)
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
		}
		f.ack(sensor, seq)
		select {
		case <-f.stop:
			return
		default:
		}
	}
}

// ahead is how many readings a sensor of mosquitto may be ahead of one that the hub itself answers.
// Mosquitto takes them at any speed, also while the hub is down, and 2.0.11 then sends thousands
// at once, unacknowledged, whatever max_inflight_messages says. The hub recognises the newest
// 1,024 of a sensor when they are sent again.
const ahead = 300

// follow waits until the sensor's reading seq is acknowledged; false when the feed ends before.
func (f *feed) follow(sensor string, seq int) bool {
	for {
		f.mu.Lock()
		done, news := f.acked[sensor] >= seq, f.news
		f.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-news:
		case <-f.stop:
			return false
		}
	}
}

func (f *feed) ack(sensor string, seq int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked[sensor] = seq
	f.total++
	close(f.news)
	f.news = make(chan struct{})
}

// more waits until n more readings were acknowledged.
func (f *feed) more(n int64) error {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for want := int64(-1); ; {
		f.mu.Lock()
		total, news := f.total, f.news
		f.mu.Unlock()
		if want < 0 {
			want = total + n
		}
		if total >= want {
			return nil
		}
		select {
		case <-news:
		case <-limit.C:
			return fmt.Errorf("%d of %d readings were acknowledged within a minute", n-(want-total), n)
		}
	}
}

// end waits until what was begun is acknowledged and begins nothing more.
func (f *feed) end() {
	close(f.stop)
	f.wg.Wait()
}

// judge holds what was applied against what was acknowledged, and returns what is wrong.
func (f *feed) judge(applied map[string][]string) (wrong []string) {
	for _, sensor := range slices.Sorted(maps.Keys(f.acked)) {
		seen := map[int]int{}
		last := 0
		for _, s := range applied[sensor] {
			seq := number(s)
			if seen[seq]++; seen[seq] == 2 {
				wrong = append(wrong, fmt.Sprintf("I2 %s: reading %d is applied twice", sensor, seq))
			}
			if seq < last {
				wrong = append(wrong, fmt.Sprintf("I3 %s: reading %d comes after %d", sensor, seq, last))
			}
			last = seq
		}
		for seq := f.first; seq <= f.acked[sensor]; seq++ {
			if seen[seq] == 0 {
				wrong = append(wrong, fmt.Sprintf("I1 %s: reading %d was acknowledged and is not applied", sensor, seq))
			}
		}
	}
	return wrong
}

// id is a reading's own id: its sensor and number.
func id(sensor string, seq int) string { return fmt.Sprintf("%s/%d", sensor, seq) }

// number is the second part of an id.
func number(id string) int {
	_, digits, _ := strings.Cut(id, "/")
	n, _ := strconv.Atoi(digits)
	return n
}

// body is a reading in the hub's own JSON.
func body(sensor string, seq int) []byte {
	return fmt.Appendf(nil, `{"sensor":%q,"seq":%q,"ts":%q,"motion":%t}`, sensor, id(sensor, seq), time.Now().UTC().Format(time.RFC3339Nano), seq%2 == 0)
}

// byHTTP posts to the hub.
func byHTTP(url string) send {
	client := &http.Client{Timeout: 5 * time.Second}
	return func(ctx context.Context, _ string, _ int, body []byte) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/readings", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var a struct{ Accepted, Duplicate int }
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil || res.StatusCode != http.StatusOK || a.Accepted+a.Duplicate != 1 {
			return fmt.Errorf("%s: %+v %v", res.Status, a, err)
		}
		return nil
	}
}

// byMQTT publishes with QoS 1 over a connection of its own and believes nothing but a PUBACK.
func byMQTT(addr, prefix string) send {
	var conn net.Conn
	return func(_ context.Context, sensor string, seq int, body []byte) (err error) {
		defer func() {
			if err != nil && conn != nil {
				conn.Close()
				conn = nil
			}
		}()
		if conn == nil {
			if conn, err = mqttConnect(addr, "feeder-"+sensor); err != nil {
				return err
			}
		}
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.Qos, p.MessageID, p.TopicName, p.Payload = 1, uint16(seq%65535)+1, prefix+"/"+sensor, body
		if err = conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if err = p.Write(conn); err != nil {
			return err
		}
		answer, err := packets.ReadPacket(conn)
		if err != nil {
			return err
		}
		if ack, ok := answer.(*packets.PubackPacket); !ok || ack.MessageID != p.MessageID {
			return fmt.Errorf("got %v", answer)
		}
		return nil
	}
}

func mqttConnect(addr, id string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion, c.CleanSession, c.ClientIdentifier, c.Keepalive = "MQTT", 4, true, id, 60
	if err := c.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	answer, err := packets.ReadPacket(conn)
	if ack, ok := answer.(*packets.ConnackPacket); err != nil || !ok || ack.ReturnCode != 0 {
		conn.Close()
		return nil, fmt.Errorf("connect: %v %v", answer, err)
	}
	return conn, nil
}

// line is the serial line, which its sensors share: one reading at a time, answered by a line.
type line struct {
	mu      sync.Mutex
	port    *os.File
	answers chan string // size answerBuffer: what was read and nobody waits for
}

const (
	answerBuffer  = 64
	answerTimeout = 500 * time.Millisecond
)

func newLine(port *os.File) *line {
	l := &line{port: port, answers: make(chan string, answerBuffer)}
	go func() {
		for in := bufio.NewScanner(port); in.Scan(); {
			select {
			case l.answers <- in.Text():
			default:
			}
		}
	}()
	return l
}

// send is a send.
func (l *line) send(ctx context.Context, sensor string, seq int, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.port.Write(append(slices.Clone(body), '\n')); err != nil {
		return err
	}
	limit := time.NewTimer(answerTimeout)
	defer limit.Stop()
	for {
		select {
		case a := <-l.answers:
			f := strings.Fields(a)
			if len(f) >= 2 && (f[0] == "ok" || f[0] == "dup") && f[1] == id(sensor, seq) {
				return nil
			}
		case <-limit.C:
			return fmt.Errorf("no answer to %s %d", sensor, seq)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

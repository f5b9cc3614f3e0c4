//go:build integration

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// ledger is the oracle: what was acknowledged, kept outside of what is killed.
type ledger struct {
	mu    sync.Mutex
	acked map[string]int // highest sequence acknowledged, by sensor; all below are acknowledged too
	total atomic.Int64
	news  chan struct{} // size 1: something was acknowledged
}

func (l *ledger) ack(sensor string, seq int) {
	l.mu.Lock()
	l.acked[sensor] = seq
	l.mu.Unlock()
	l.total.Add(1)
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// more waits until n more readings were acknowledged.
func (l *ledger) more(ctx context.Context, n int64) error {
	for want := l.total.Load() + n; l.total.Load() < want; {
		select {
		case <-l.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// send delivers one reading of a sensor and returns when it was acknowledged; an error means
// that this is not known, and it is sent again.
type send func(ctx context.Context, sensor string, seq int) error

// feed sends readings, each until it is acknowledged, until stop is closed.
func feed(ctx context.Context, l *ledger, sensor string, s send, stop <-chan struct{}) {
	for seq := 1; ; seq++ {
		for s(ctx, sensor, seq) != nil {
			if ctx.Err() != nil {
				return
			}
		}
		l.ack(sensor, seq)
		select {
		case <-stop:
			return
		default:
		}
	}
}

// body is a reading in the hub's own JSON.
func body(sensor string, seq int) []byte {
	return fmt.Appendf(nil, `{"sensor":%q,"seq":%d,"ts":%q,"motion":%t}`, sensor, seq, time.Now().UTC().Format(time.RFC3339Nano), seq%2 == 0)
}

// byHTTP posts to the hub.
func byHTTP(url string) send {
	client := &http.Client{Timeout: 5 * time.Second}
	return func(ctx context.Context, sensor string, seq int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/readings", bytes.NewReader(body(sensor, seq)))
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
	return func(_ context.Context, sensor string, seq int) (err error) {
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
		p.Qos, p.MessageID, p.TopicName, p.Payload = 1, uint16(seq%65535)+1, prefix+"/"+sensor, body(sensor, seq)
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

const answerBuffer = 64

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

func (l *line) send(ctx context.Context, sensor string, seq int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.port.Write(append(body(sensor, seq), '\n')); err != nil {
		return err
	}
	limit := time.NewTimer(500 * time.Millisecond)
	defer limit.Stop()
	for {
		select {
		case a := <-l.answers:
			f := strings.Fields(a)
			if len(f) >= 2 && (f[0] == "ok" || f[0] == "dup") && f[1] == strconv.Itoa(seq) {
				return nil
			}
		case <-limit.C:
			return fmt.Errorf("no answer to %s %d", sensor, seq)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// killStorm feeds the rig by every transport while it kills the hub, and now and then the cloud,
// at random moments, and returns what the oracle finds wrong.
func killStorm(t *testing.T, r *rig, seed uint64, kills int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	rnd := rand.New(rand.NewPCG(seed, 1))
	l := &ledger{acked: map[string]int{}, news: make(chan struct{}, 1)}
	r.startHub()
	r.until("the hub has its session at mosquitto", 20*time.Second, func() bool { return r.inputsUp() })
	serial := newLine(r.master)
	stop := make(chan struct{})
	var feeders sync.WaitGroup
	for _, via := range transports {
		for n := range perTransport {
			sensor := fmt.Sprintf("%s-%d", via, n)
			s := map[string]send{"broker": byMQTT(r.brokerURL, "sensors"), "mosquitto": byMQTT(r.mosquitto, "mosquitto"), "http": byHTTP(r.hubURL), "lines": serial.send}[via]
			feeders.Go(func() { feed(ctx, l, sensor, s, stop) })
		}
	}
	for k := range kills {
		if err := l.more(ctx, 1+rnd.Int64N(200)); err != nil {
			t.Fatalf("seed %d: after %d kills nothing is acknowledged any more: %v\nhub:\n%s", seed, k, err, r.hub.tail())
		}
		if rnd.IntN(8) == 0 {
			r.cloud.kill()
			r.hub.kill()
			r.startCloud(r.cloud.cmd.Path)
		} else {
			r.hub.kill()
		}
		r.startHub()
	}
	close(stop)
	feeders.Wait()
	r.until("mosquitto's queue is empty", time.Minute, func() bool { return r.hubHas(l) })
	r.drained(2 * time.Minute)
	r.cloud.kill()
	r.hub.kill()
	t.Logf("seed %d: %d kills, %d readings acknowledged", seed, kills, l.total.Load())
	return l.judge(r.applied())
}

// inputsUp tells whether every input of the hub is connected.
func (r *rig) inputsUp() bool {
	res, err := http.Get(r.hubURL + "/v1/status")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var s struct{ Inputs []struct{ Up bool } }
	if json.NewDecoder(res.Body).Decode(&s) != nil {
		return false
	}
	return !slices.ContainsFunc(s.Inputs, func(in struct{ Up bool }) bool { return !in.Up })
}

// hubHas tells whether the hub has taken in as many readings of each of mosquitto's sensors as
// were published.
func (r *rig) hubHas(l *ledger) bool {
	res, err := http.Get(r.hubURL + "/v1/sensors")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var list struct {
		Sensors []struct {
			ID       string
			Readings int
		}
	}
	if json.NewDecoder(res.Body).Decode(&list) != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range list.Sensors {
		if strings.HasPrefix(s.ID, "mosquitto") && s.Readings < l.acked[s.ID] {
			return false
		}
	}
	return true
}

// judge holds what was applied against what was acknowledged.
func (l *ledger) judge(applied map[string][]string) (wrong []string) {
	for sensor, upTo := range l.acked {
		seen := map[int]int{}
		last := 0
		for _, s := range applied[sensor] {
			seq, _ := strconv.Atoi(s)
			if seen[seq]++; seen[seq] == 2 {
				wrong = append(wrong, fmt.Sprintf("I2 %s: reading %d is applied twice", sensor, seq))
			}
			if seq < last {
				wrong = append(wrong, fmt.Sprintf("I3 %s: reading %d comes after %d", sensor, seq, last))
			}
			last = seq
		}
		for seq := 1; seq <= upTo; seq++ {
			if seen[seq] == 0 {
				wrong = append(wrong, fmt.Sprintf("I1 %s: reading %d was acknowledged and is lost", sensor, seq))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

// Every acknowledged reading is applied in the cloud exactly once and in order, whenever hub and
// cloud are killed.
func TestIntegrationKilledHubLosesNothing(t *testing.T) {
	seed := seedOf(t)
	if wrong := killStorm(t, newRig(t, ""), seed, 100); len(wrong) > 0 {
		t.Errorf("seed %d: %d violations, first: %s", seed, len(wrong), strings.Join(wrong[:min(5, len(wrong))], "; "))
	}
}

// The same test catches a hub that answers before the commit.
func TestIntegrationKillTestCatchesAnEarlyAnswer(t *testing.T) {
	seed := seedOf(t)
	wrong := killStorm(t, newRig(t, "control_ack_early"), seed, 60)
	if len(wrong) == 0 {
		t.Fatalf("seed %d: the control build answers before the commit, and nothing was found", seed)
	}
	t.Logf("control caught, seed %d: %d violations, first: %s", seed, len(wrong), wrong[0])
}

// seedOf is HEADCOUNT_SEED, or a fresh one.
func seedOf(t *testing.T) uint64 {
	if s := os.Getenv("HEADCOUNT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("HEADCOUNT_SEED: %v", err)
		}
		return n
	}
	return rand.Uint64()
}

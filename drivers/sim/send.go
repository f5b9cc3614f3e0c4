package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// sendMQTT publishes with QoS 1 over one connection until it is lost. Up to 64 messages are
// under way at once; after a loss the sender begins again with the first unacknowledged one.
func (r *Runner) sendMQTT(ctx context.Context, box *outbox) error {
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(r.to.MQTTURL).SetClientID("headcount-sim").
		SetUsername(r.to.MQTTUser).SetPassword(r.to.MQTTPassword).
		SetAutoReconnect(false).SetConnectTimeout(answerIn).SetWriteTimeout(answerIn).SetKeepAlive(15 * time.Second))
	if err := finish(ctx, c.Connect(), "connect to "+r.to.MQTTURL); err != nil {
		c.Disconnect(0)
		return err
	}
	defer c.Disconnect(100)
	for {
		es, err := box.next(ctx, 64)
		if err != nil {
			return err
		}
		tokens := make([]mqtt.Token, len(es))
		for i, e := range es {
			tokens[i] = c.Publish(e.Topic(), 1, false, e.Payload())
		}
		for i, t := range tokens {
			if err := finish(ctx, t, "publish to "+es[i].Topic()); err != nil {
				if i > 0 {
					box.done(es[:i], 0)
				}
				return err
			}
		}
		box.done(es, 0)
	}
}

func finish(ctx context.Context, t mqtt.Token, what string) error {
	late := time.NewTimer(2 * answerIn) // a busy hub may hold an acknowledgement back
	defer late.Stop()
	select {
	case <-t.Done():
		if t.Error() != nil {
			return fmt.Errorf("%s: %w", what, t.Error())
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return noAnswer(what)
	}
}

// sendHTTP posts what waits, up to 500 messages at once, as lines.
func (r *Runner) sendHTTP(ctx context.Context, box *outbox) error {
	transport := &http.Transport{MaxIdleConns: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * answerIn}
	for {
		es, err := box.next(ctx, 500)
		if err != nil {
			return err
		}
		var body bytes.Buffer
		for _, e := range es {
			body.Write(e.Payload())
			body.WriteByte('\n')
		}
		refused, err := r.post(ctx, client, &body)
		if err != nil {
			return err
		}
		box.done(es, refused)
	}
}

func (r *Runner) post(ctx context.Context, client *http.Client, body io.Reader) (refused int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(r.to.HTTPURL, "/")+"/v1/readings", body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	if r.to.HTTPToken != "" {
		req.Header.Set("Authorization", "Bearer "+r.to.HTTPToken)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s: %.200s", req.URL, resp.Status, text)
	}
	var answer struct{ Rejected []json.RawMessage }
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("%s: answer %.100q: %w", req.URL, text, err)
	}
	return len(answer.Rejected), nil
}

// sendSerial writes one line after the other and waits for the answer to each.
func (r *Runner) sendSerial(ctx context.Context, box *outbox) error {
	port := r.to.Serial
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(port.SetReadDeadline(time.Unix(1, 0)), port.SetWriteDeadline(time.Unix(1, 0))) })
	defer stop()
	answers := bufio.NewReaderSize(port, 512)
	for {
		es, err := box.next(ctx, 1)
		if err != nil {
			return err
		}
		end := time.Now().Add(answerIn)
		if err := errors.Join(port.SetReadDeadline(end), port.SetWriteDeadline(end)); err != nil {
			return err
		}
		if ctx.Err() != nil { // the deadlines above may have hidden its end
			return ctx.Err()
		}
		if _, err := port.Write(append(es[0].Payload(), '\n')); err != nil {
			return fmt.Errorf("serial line: %w", err)
		}
		verdict, err := await(answers, es[0])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return noAnswer("serial line")
		case err != nil:
			return fmt.Errorf("serial line: %w", err)
		case verdict == "again":
			return errors.New("serial line: the hub could not store a reading")
		case verdict == "err":
			box.done(es, 1)
		default:
			box.done(es, 0)
		}
	}
}

// await reads lines until the answer to e: "ok SEQ", "dup SEQ", "again SEQ" or "err SEQ why".
// Others are answers that came too late, or an echo. A line that could not even be read is
// answered with "-" for its number.
func await(answers *bufio.Reader, e Emission) (string, error) {
	seq := strconv.FormatUint(e.Seq, 10)
	for {
		text, err := answers.ReadString('\n')
		if err != nil {
			return "", err
		}
		words := strings.Fields(text)
		if len(words) < 2 || words[1] != seq && (!e.Garbled || words[1] != "-") {
			continue
		}
		switch words[0] {
		case "ok", "dup", "again", "err":
			return words[0], nil
		}
	}
}

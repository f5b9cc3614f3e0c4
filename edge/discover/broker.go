package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Broker is what answered where a host's MQTT broker would be.
type Broker struct {
	Address string `json:"address"` // host:port
	What    string `json:"what"`
}

// mqttPort is the well-known port of MQTT without TLS.
const mqttPort = "1883"

// FindBroker looks whether a host has an MQTT broker at the well-known port: it greets it as a client without
// a name and password would. An error says that there is none.
func FindBroker(ctx context.Context, host string) (Broker, error) {
	addr := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		addr = net.JoinHostPort(host, mqttPort)
	}
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return Broker{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return Broker{}, err
	}
	// CONNECT of MQTT 3.1.1: clean session, keep alive 10 s, empty client id.
	if _, err := conn.Write([]byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 10, 0, 0}); err != nil {
		return Broker{}, fmt.Errorf("%s: %w", addr, err)
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return Broker{}, fmt.Errorf("%s: somebody listens, but does not answer as an MQTT broker: %w", addr, err)
	}
	what, err := connack(answer)
	if err != nil {
		return Broker{}, fmt.Errorf("%s: %w", addr, err)
	}
	_, _ = conn.Write([]byte{0xe0, 0}) // DISCONNECT, out of courtesy
	return Broker{Address: addr, What: what}, nil
}

// connack says what a broker's answer to a greeting means.
func connack(b []byte) (string, error) {
	if len(b) < 4 || b[0] != 0x20 || b[1] != 2 {
		return "", errors.New("somebody listens, but does not answer as an MQTT broker")
	}
	switch b[3] {
	case 0:
		return "MQTT broker that takes clients without a name and password", nil
	case 4, 5:
		return "MQTT broker that wants a name and password", nil
	}
	return "MQTT broker that refuses clients without an id", nil
}

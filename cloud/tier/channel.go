package tier

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/cloud/notify"
)

// channel posts notifications to one URL.
type channel struct {
	url     string
	secret  string
	agent   string
	client  *http.Client
	present func() time.Time
}

// connectTimeout bounds one request; notify bounds the attempt.
const connectTimeout = 10 * time.Second

func newChannel(w Webhook, version string) (notify.Channel, error) {
	secret, err := readSecret(w.SecretFile)
	if err != nil {
		return nil, err
	}
	return &channel{
		url: w.URL, secret: secret, agent: "headcount-cloud/" + version, present: time.Now,
		client: &http.Client{
			Timeout:       connectTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a redirect is no receipt
		},
	}, nil
}

// Deliver posts the message. 2xx is delivered; of the rest only what asks for patience or is
// the server's own trouble is tried again.
func (c *channel) Deliver(ctx context.Context, m notify.Message) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(m.Body))
	if err != nil {
		return fmt.Errorf("%w: %w", notify.ErrRefused, err)
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", c.agent)
	h.Set("Idempotency-Key", m.Key)
	h.Set("Webhook-Id", m.Key)
	if c.secret != "" {
		stamp := strconv.FormatInt(c.present().Unix(), 10)
		h.Set("Webhook-Timestamp", stamp)
		h.Set("Webhook-Signature", "v1="+sign(c.secret, m.Key, stamp, m.Body))
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code == http.StatusTooEarly || code >= 500:
		return fmt.Errorf("the receiver answered %s", resp.Status)
	default:
		return fmt.Errorf("%w: the receiver answered %s", notify.ErrRefused, resp.Status)
	}
}

// sign is the HMAC-SHA256 of key, time and body, in hex.
func sign(secret, key, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.", key, stamp)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

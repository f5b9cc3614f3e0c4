package deliver

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/SherClockHolmes/webpush-go"
)

// ErrGone says that a Web Push subscription has ended: forget it.
var ErrGone = fmt.Errorf("%w: the subscription has ended", ErrRefused)

// pushLife is how long a push service keeps a message for a browser that is not there.
const pushLife = 6 * time.Hour

// maxPushText bounds the text of a push in bytes: an encrypted record has 4,096 at most.
const maxPushText = 2000

// Subscription is what a browser's PushManager.subscribe gave.
type Subscription struct {
	Endpoint string `json:"endpoint"`
	Keys     struct {
		P256dh string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// Check says what is wrong with a subscription as somebody sent it.
func (s Subscription) Check() error {
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || len(s.Endpoint) > 2000 {
		return errors.New("endpoint: want the https address that the browser gave")
	}
	point, err := decodeKey(s.Keys.P256dh)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return errors.New("keys.p256dh: want a P-256 public key in base64url")
	}
	if auth, err := decodeKey(s.Keys.Auth); err != nil || len(auth) != 16 {
		return errors.New("keys.auth: want 16 bytes in base64url")
	}
	return nil
}

func decodeKey(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
	return base64.RawURLEncoding.DecodeString(s)
}

// PushOptions are what Web Push needs.
type PushOptions struct {
	KeyFile    string // the VAPID key; made with mode 0600 when it is missing
	Contact    string // e-mail address or https URL by which push services reach the operator
	PublicOnly bool   // refuse endpoints that are not on the internet
	Timeout    time.Duration
}

// Push sends to browsers by Web Push (RFC 8030, 8291, 8292). It may be used from many goroutines.
type Push struct {
	public, private string
	contact         string
	client          *http.Client
}

// NewPush reads or makes the VAPID key.
func NewPush(o PushOptions) (*Push, error) {
	public, private, err := vapidKey(o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("web push key %s: %w", o.KeyFile, err)
	}
	if o.Contact == "" {
		o.Contact = "postmaster@localhost"
	}
	return &Push{public: public, private: private, contact: o.Contact, client: newClient(o.Timeout, o.PublicOnly)}, nil
}

// vapidKey reads the pair from a file, or makes it.
func vapidKey(path string) (public, private string, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if private, public, err = webpush.GenerateVAPIDKeys(); err != nil {
			return "", "", err
		}
		return public, private, os.WriteFile(path, []byte(private+"\n"), 0o600)
	}
	if err != nil {
		return "", "", err
	}
	private = strings.TrimSpace(string(b))
	raw, err := decodeKey(private)
	if err != nil {
		return "", "", errors.New("is not the base64url of a private key")
	}
	key, err := ecdh.P256().NewPrivateKey(raw)
	if err != nil {
		return "", "", errors.New("is not a P-256 private key")
	}
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), private, nil
}

// PublicKey is what pages give to PushManager.subscribe as applicationServerKey.
func (p *Push) PublicKey() string { return p.public }

// Send sends a message to one browser: a JSON object with title, body, url, ack, severity and tag.
// ErrGone says that the subscription has ended.
func (p *Push) Send(ctx context.Context, to Subscription, m Message) error {
	w := m.words()
	body, err := json.Marshal(map[string]string{
		"title": cut(w.Title, 200), "body": cut(w.Text, maxPushText), "url": w.Link, "ack": w.Ack, "severity": string(w.Severity), "tag": m.Key,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	urgency := webpush.UrgencyNormal
	if w.Severity == "critical" {
		urgency = webpush.UrgencyHigh
	}
	c := caller{what: "push service", host: hostName(to.Endpoint), client: p.client}
	resp, err := webpush.SendNotificationWithContext(ctx, body, &webpush.Subscription{
		Endpoint: to.Endpoint, Keys: webpush.Keys{P256dh: to.Keys.P256dh, Auth: to.Keys.Auth},
	}, &webpush.Options{
		HTTPClient: p.client, Subscriber: p.contact, TTL: int(pushLife.Seconds()), Urgency: urgency,
		VAPIDPublicKey: p.public, VAPIDPrivateKey: p.private,
	})
	if err == nil && (resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusNotFound) {
		resp.Body.Close()
		return ErrGone
	}
	return c.answer(resp, err) //nolint:bodyclose // answer closes it
}

func hostName(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// cut shortens a text to at most n bytes, at a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func fingerprint(s string) string {
	h := fnv.New64a()
	h.Write([]byte(s))
	return fmt.Sprintf("%016x", h.Sum64())
}

package tier

import (
	"fmt"
	"os"
	"strings"

	"github.com/headcount-hub/headcount/cloud/notify"
	"github.com/headcount-hub/headcount/edge/deliver"
)

// webhooks makes the channels of all organisations.
func webhooks(c Config) ([]notify.Webhook, error) {
	var out []notify.Webhook
	for _, o := range c.Organisations {
		for _, w := range o.Webhooks {
			channel, err := newChannel(w)
			if err != nil {
				return nil, fmt.Errorf("%w: organisation %s: webhook %s: %w", ErrConfig, o.ID, w.Name, err)
			}
			out = append(out, notify.Webhook{Org: o.ID, Name: w.Name, MinSeverity: w.MinSeverity, MaxAge: w.MaxAge, Channel: channel})
		}
	}
	return out, nil
}

func newChannel(w Webhook) (deliver.Channel, error) {
	secret, err := readSecret(w.SecretFile)
	if err != nil {
		return nil, err
	}
	return deliver.NewWebhook(deliver.WebhookOptions{URL: w.URL, Secret: []byte(secret)})
}

// readSecret reads the file that holds the key for signatures; empty without a file.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("secret file %s is open to every user of this machine (%04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("secret file: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if len(s) < minSecret {
		return "", fmt.Errorf("secret file %s: the secret is shorter than %d characters; make one with: openssl rand -hex 24", path, minSecret)
	}
	return s, nil
}

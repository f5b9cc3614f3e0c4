package forward

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/edge/deliver"
)

// SNS publishes each event to a topic of the AWS Simple Notification Service, or of a server that
// speaks like it.
type SNS struct {
	TopicARN     string // arn:aws:sns:REGION:ACCOUNT:NAME
	AccessKeyID  string
	SecretKey    string
	SessionToken string // of temporary credentials; may be empty
	Endpoint     string // https://sns.REGION.amazonaws.com by default
}

// region is the part of the topic's name that says where it is.
func (c *SNS) region() string {
	if parts := strings.Split(c.TopicARN, ":"); len(parts) == 6 && parts[2] == "sns" {
		return parts[3]
	}
	return ""
}

func (c *SNS) check() error {
	switch {
	case c.region() == "":
		return errors.New("topic_arn: want arn:aws:sns:REGION:ACCOUNT:NAME")
	case c.AccessKeyID == "":
		return errors.New("access_key_id is missing")
	}
	if c.Endpoint == "" {
		c.Endpoint = "https://sns." + c.region() + ".amazonaws.com"
	}
	_, err := checkAddress(c.Endpoint, "https", "http")
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	return nil
}

type snsSink struct {
	c      SNS
	client *http.Client
	now    func() time.Time
}

func openSNS(c SNS) Sink {
	return &snsSink{c: c, now: time.Now, client: &http.Client{
		Timeout: callTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Send is of Sink.
func (s *snsSink) Send(ctx context.Context, events []Event) (sent int, err error) {
	for i, e := range events {
		if err := s.publish(ctx, e); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

// form is the request's body. A FIFO topic gets the events of a site in order, each once.
func (s *snsSink) form(e Event) url.Values {
	v := url.Values{"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {s.c.TopicARN}, "Message": {string(e.Body)}}
	for i, a := range [][2]string{{"type", e.Type}, {"org", e.Org}, {"site", e.Site}} {
		if a[1] == "" {
			continue
		}
		prefix := fmt.Sprintf("MessageAttributes.entry.%d.", i+1)
		v.Set(prefix+"Name", a[0])
		v.Set(prefix+"Value.DataType", "String")
		v.Set(prefix+"Value.StringValue", a[1])
	}
	if strings.HasSuffix(s.c.TopicARN, ".fifo") {
		v.Set("MessageGroupId", fill("{org}/{site}", e))
		v.Set("MessageDeduplicationId", e.Key())
	}
	return v
}

func (s *snsSink) publish(ctx context.Context, e Event) error {
	body := []byte(s.form(e).Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.c.Endpoint, "/")+"/", strings.NewReader(string(body)))
	if err != nil {
		return fmt.Errorf("sns: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	signer{s.c.AccessKeyID, s.c.SecretKey, s.c.SessionToken, s.c.region(), "sns"}.sign(req, body, s.now())
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("sns: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("sns: %w", err)
	}
	return judge(resp.StatusCode, answer)
}

// Close is of Sink.
func (s *snsSink) Close() { s.client.CloseIdleConnections() }

// judge turns an answer into an error. Only what is wrong with the message itself is final: keys
// and topics are mended by the operator.
func judge(status int, body []byte) error {
	if status >= 200 && status < 300 {
		return nil
	}
	var e struct {
		Error struct {
			Code    string `xml:"Code"`
			Message string `xml:"Message"`
		} `xml:"Error"`
	}
	_ = xml.Unmarshal(body, &e) // an answer of another form has its status
	err := fmt.Errorf("sns answers %d %s: %.200s", status, e.Error.Code, e.Error.Message)
	if status == http.StatusBadRequest && (e.Error.Code == "InvalidParameter" || e.Error.Code == "InvalidParameterValue") {
		return fmt.Errorf("%w: %w", deliver.ErrRefused, err)
	}
	return err
}

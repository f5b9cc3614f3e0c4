package assist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Model says which model answers questions: one behind an endpoint that speaks the chat
// completions protocol of OpenAI. URL and Name are required; fields that are 0 get their default.
type Model struct {
	URL       string        // such as https://api.example.org/v1
	Name      string        // of the model, as the endpoint knows it
	Key       string        // sent as bearer token; empty = none
	Timeout   time.Duration // of a whole question: 60 s
	MaxTokens int           // of a whole question, as the endpoint counts them: 20,000
	MaxSteps  int           // calls of the model per question: 6
	PerMinute int           // questions of one caller: 10
}

// The defaults and bounds of Model.
const (
	defaultTimeout   = time.Minute
	defaultTokens    = 20_000
	defaultSteps     = 6
	defaultPerMinute = 10
	maxReplyTokens   = 1000    // of one call of the model
	maxReply         = 1 << 20 // bytes of one reply
	breakAfter       = 5       // failures in a row
	breakFor         = time.Minute
)

// Check says what is wrong with the settings.
func (m Model) Check() error {
	u, err := url.Parse(m.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return errors.New("url: want https://HOST/v1, the address of an OpenAI-compatible endpoint")
	case u.User != nil || u.RawQuery != "":
		return errors.New("url: want an address without user, password and query; the key goes into key_file")
	case m.Name == "":
		return errors.New("model: want the name of the model, as the endpoint knows it")
	case m.Timeout < 0 || m.Timeout > 10*time.Minute:
		return errors.New("timeout: want at most 10m")
	case m.MaxTokens < 0 || m.MaxSteps < 0 || m.MaxSteps > 50 || m.PerMinute < 0:
		return errors.New("want max_steps of at most 50, and no negative max_tokens, max_steps and per_minute")
	}
	return nil
}

// client calls the endpoint.
type client struct {
	o       Model
	http    *http.Client
	breaker *gobreaker.CircuitBreaker[*reply]
}

func newClient(m Model) (*client, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	for field, value := range map[*int]int{&m.MaxTokens: defaultTokens, &m.MaxSteps: defaultSteps, &m.PerMinute: defaultPerMinute} {
		if *field == 0 {
			*field = value
		}
	}
	if m.Timeout == 0 {
		m.Timeout = defaultTimeout
	}
	m.URL = strings.TrimSuffix(m.URL, "/")
	if !strings.HasSuffix(m.URL, "/chat/completions") {
		m.URL += "/chat/completions"
	}
	return &client{
		o:    m,
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, // the key is for this host
		breaker: gobreaker.NewCircuitBreaker[*reply](gobreaker.Settings{
			Name: "agent", Timeout: breakFor,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
			IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, context.Canceled) },
		}),
	}, nil
}

// message is one of a conversation.
type message struct {
	Role      string     `json:"role"`
	Content   string     `json:"content"`
	ToolCalls []toolCall `json:"tool_calls,omitempty"`
	ToolCall  string     `json:"tool_call_id,omitempty"`
}

// toolCall is what the model asks for.
type toolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// reply is the model's answer to a conversation.
type reply struct {
	Choices []struct {
		Message      message `json:"message"`
		FinishReason string  `json:"finish_reason"`
	} `json:"choices"`
	Usage struct {
		Total int `json:"total_tokens"`
	} `json:"usage"`
}

// errModel is wrapped by errors of the endpoint; the rest of their text is for the log and for
// managers, and never holds the key.
var errModel = errors.New("the model's endpoint")

// complete asks the model once. Its errors wrap errModel, gobreaker.ErrOpenState or the
// context's.
func (c *client) complete(ctx context.Context, conversation []message, left int) (*reply, error) {
	body, err := json.Marshal(map[string]any{
		"model": c.o.Name, "messages": conversation, "tools": functions(), "tool_choice": "auto", "temperature": 0, "max_tokens": min(left, maxReplyTokens),
	})
	if err != nil {
		return nil, err
	}
	return c.breaker.Execute(func() (*reply, error) { return c.post(ctx, body) })
}

func (c *client) post(ctx context.Context, body []byte) (*reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errModel, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.o.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w cannot be reached: %w", errModel, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w answers %s", errModel, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("%w broke off: %w", errModel, err)
	}
	return parseReply(b)
}

// parseReply reads and checks a reply.
func parseReply(b []byte) (*reply, error) {
	if len(b) > maxReply {
		return nil, fmt.Errorf("%w answers more than %d bytes", errModel, maxReply)
	}
	var r reply
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w answers what is no chat completion: %w", errModel, err)
	}
	if len(r.Choices) == 0 {
		return nil, fmt.Errorf("%w answers without choices", errModel)
	}
	if r.Usage.Total <= 0 { // it does not count
		r.Usage.Total = len(b) / 4
	}
	return &r, nil
}

// functions are the tools as the endpoint wants them.
func functions() []any {
	var out []any
	for _, t := range Tools() {
		out = append(out, map[string]any{"type": "function", "function": map[string]any{"name": t.Name, "description": t.Description, "parameters": t.Schema()}})
	}
	return out
}

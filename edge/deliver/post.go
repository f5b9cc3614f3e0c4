package deliver

import (
	"context"
	"net/http"
	"time"
)

// Post makes one signed call with a body of the caller's own, such as a batch of events, instead
// of a message. header has at least Content-Type and HeaderKey; those of the options are added.
// Errors are those of Deliver.
func (w *Webhook) Post(ctx context.Context, header http.Header, body []byte) error {
	header = header.Clone()
	for k, v := range w.opts.Header {
		if header.Get(k) == "" {
			header.Set(k, v)
		}
	}
	if len(w.opts.Secret) > 0 {
		header.Set(HeaderSignature, Sign(w.opts.Secret, body, time.Now()))
	}
	return w.call(ctx, http.MethodPost, w.url, header, body)
}

package accounts

import (
	"bytes"
	"html/template"
	"mime"
	"net/http"

	"github.com/headcount-hub/headcount/cloud/route"
)

// linkPage is what people see who follow a link from a mail: a form, because programs that look
// through mails follow links too, and must not use them up.
var linkPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}} - Headcount</title></head><body><main><h1>{{.Title}}</h1>
{{with .Done}}<p>{{.}}</p><p><a href="/">Go on to Headcount</a></p>{{else}}
<p>{{.Email}}</p>
<form method="post" action="/auth/{{.Kind}}">
<input type="hidden" name="token" value="{{.Token}}">
{{if .Name}}<p><label>Name <input name="name" value="{{.Name}}" required autocomplete="name"></label></p>{{end}}
{{if .Password}}<p><label>New password (at least 10 characters) <input name="password" type="password" minlength="10" required autocomplete="new-password"></label></p>{{end}}
<p><button>{{.Button}}</button></p></form>{{end}}
</main></body></html>
`))

type linkView struct {
	Title, Email, Kind, Token, Name, Button, Done string
	Password                                      bool
}

// show answers GET for a kind of link with the form that uses it.
func (a *Accounts) show(kind string) func(*route.Request) (any, error) {
	return func(r *route.Request) (any, error) {
		raw := r.URL.Query().Get("token")
		u, _, err := a.linkUser(r, kind, raw)
		if err != nil {
			return nil, err
		}
		v := linkView{Email: u.Email, Kind: kind, Token: raw, Title: "Confirm your mail address", Button: "Confirm"}
		switch kind {
		case resetLink:
			v.Title, v.Button, v.Password = "Set a new password", "Set password", true
		case inviteLink:
			v.Title, v.Button, v.Password, v.Name = "Welcome to Headcount", "Begin", true, u.Name
		}
		return render(v), nil
	}
}

func render(v linkView) *route.Response {
	var b bytes.Buffer
	if err := linkPage.Execute(&b, v); err != nil {
		b.Reset()
	}
	return &route.Response{
		ContentType: "text/html; charset=utf-8", Raw: b.Bytes(),
		Header: http.Header{"Referrer-Policy": {"same-origin"}, "Cache-Control": {"no-store"}}, // the form's origin must be told to us, and to us only
	}
}

// linkFields is what a form or a program sends to use a link.
type linkFields struct {
	Token    string `json:"token"`
	Name     string `json:"name,omitempty"`
	Password string `json:"password,omitempty"`

	form bool
}

// fields reads a body that is a form or JSON.
func fields(r *route.Request) (f linkFields, err error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		return f, r.Decode(&f)
	}
	if err := r.ParseForm(); err != nil {
		return f, route.Problem(http.StatusBadRequest, "the form could not be read")
	}
	return linkFields{Token: r.PostForm.Get("token"), Name: r.PostForm.Get("name"), Password: r.PostForm.Get("password"), form: true}, nil
}

// done is the answer after a link was used.
func (f linkFields) done(text string) any {
	if f.form {
		return render(linkView{Title: "Done", Done: text})
	}
	return map[string]string{"status": text}
}

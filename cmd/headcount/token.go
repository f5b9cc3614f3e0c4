package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make tokens for the hub's API, and look into signed ones", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(tokenNewCommand(), tokenInspectCommand())
	return c
}

func tokenNewCommand() *cobra.Command {
	var name, role, device string
	c := &cobra.Command{
		Use:   "new {--name NAME [--role ROLE] | --device ADDRESS}",
		Short: "Make a random token with its line for the token file",
		Example: "  headcount token new --name wallboard --role viewer\n" +
			"  headcount token new --device door-7",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (name == "") == (device == "") {
				return usage(errors.New("say whose token it is: --name NAME or --device ADDRESS"))
			}
			if device != "" && c.Flags().Changed("role") {
				return usage(errors.New("a device has no role: it sends its own readings and nothing else"))
			}
			return newToken(c.OutOrStdout(), c.ErrOrStderr(), name, role, device)
		},
	}
	c.Flags().StringVar(&name, "name", "", "who holds it, as commands and the audit name it")
	c.Flags().StringVar(&role, "role", "viewer", "viewer, operator, manager or admin")
	c.Flags().StringVar(&device, "device", "", "address of the device whose readings it may send, or the id of the sensor that it serves")
	return c
}

// newToken prints a line that the hub is known to read as it was meant.
func newToken(out, notes io.Writer, name, role, device string) error {
	var b [32]byte
	rand.Read(b[:])
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	owner := name + ":" + role
	if device != "" {
		owner = "device:" + device
	}
	line := owner + ":" + secret
	t, err := gateway.ParseToken(line, 1)
	if err != nil {
		return usage(err)
	}
	if t.Secret != secret || t.Device != device || device == "" && t.Name != name || strings.ContainsAny(owner, "\r\n") {
		return usage(errors.New("a token file cannot hold this: the name is the word device, or name or address begin with #, have a space at an end or a colon in the name"))
	}
	fmt.Fprintf(out, "line   %s\ntoken  %s\n", line, secret)
	fmt.Fprintln(notes, "Add the line to the file that http.token_file names and start the hub again; give the token to its holder. It is not shown again.")
	return nil
}

func tokenInspectCommand() *cobra.Command {
	var jwks, audience string
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect TOKEN",
		Short: "Print what a signed token says; TOKEN may be - for standard input",
		Long: "Print the header and claims of a signed token (JWT). Nothing of it is to be believed unless --jwks names the\n" +
			"file with its issuer's public keys, such as from https://CLOUD/.well-known/jwks.json: then it is verified.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := readToken(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			in, err := inspect(raw)
			if err != nil {
				return err
			}
			if jwks != "" {
				if err := in.verify(raw, jwks, audience); err != nil {
					return err
				}
			}
			return in.print(c.OutOrStdout(), asJSON)
		},
	}
	c.Flags().StringVar(&jwks, "jwks", "", "file with the issuer's public keys: verify the token")
	c.Flags().StringVar(&audience, "audience", "headcount", "with --jwks: whom the token must be meant for")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func readToken(in io.Reader, arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// inspection is what can be said of a token.
type inspection struct {
	Verified bool            `json:"verified"`
	Refused  string          `json:"refused,omitempty"` // why it is not; empty when nobody tried
	Header   json.RawMessage `json:"header"`
	Claims   json.RawMessage `json:"claims"`
}

func inspect(raw string) (*inspection, error) {
	head, claims, err := token.Inspect(raw)
	if err != nil {
		return nil, fmt.Errorf("this is no signed token: %w", err)
	}
	return &inspection{Header: head, Claims: claims}, nil
}

// verify holds the token to the keys of the issuer that it names. An error means that this could
// not be tried.
func (in *inspection) verify(raw, file, audience string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--jwks: %w", err)
	}
	keys, err := token.ParseJWKS(b)
	if err != nil {
		return fmt.Errorf("--jwks %s: %w", file, err)
	}
	var named struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(in.Claims, &named); err != nil || named.Issuer == "" {
		in.Refused = "it names no issuer"
		return nil
	}
	v, err := token.NewVerifier(token.VerifierOptions{Issuers: []token.Issuer{{Name: named.Issuer, Keys: keys}}, Audience: audience})
	if err != nil {
		return err
	}
	if _, err = v.Verify(raw); err != nil {
		in.Refused = err.Error()
	}
	in.Verified = err == nil
	return nil
}

func (in *inspection) print(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return errors.Join(enc.Encode(in), in.failure())
	}
	switch {
	case in.Verified:
		fmt.Fprintln(out, "verified: signed by its issuer, and valid now")
	case in.Refused != "":
		fmt.Fprintln(out, "NOT VERIFIED:", in.Refused)
	default:
		fmt.Fprintln(out, "NOT VERIFIED: anybody can write this; --jwks FILE verifies it")
	}
	fmt.Fprintf(out, "header  %s\n", in.Header)
	var b bytes.Buffer
	if err := json.Indent(&b, in.Claims, "", "  "); err != nil {
		return err
	}
	fmt.Fprintf(out, "claims  %s\n", b.String())
	in.printTimes(out)
	return in.failure()
}

// failure is the command's error when the token was looked at and refused.
func (in *inspection) failure() error {
	if in.Refused == "" {
		return nil
	}
	return &exitError{code: exitFailure, err: errors.New(in.Refused), silent: true}
}

// printTimes says the claims' times as people read them.
func (in *inspection) printTimes(out io.Writer) {
	var times struct{ Iat, Nbf, Exp json.Number }
	if json.Unmarshal(in.Claims, &times) != nil {
		return
	}
	for _, t := range []struct {
		name string
		at   json.Number
	}{{"issued", times.Iat}, {"valid from", times.Nbf}, {"expires", times.Exp}} {
		if s, err := t.at.Float64(); err == nil {
			fmt.Fprintf(out, "%s %s\n", t.name, time.UnixMilli(int64(s*1000)).UTC().Format(time.RFC3339))
		}
	}
}

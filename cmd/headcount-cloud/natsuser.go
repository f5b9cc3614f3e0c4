package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headcount-hub/headcount/cloud/tier"
)

// natsUserCommand makes and ends credentials of those who use NATS from outside.
func (c *cli) natsUserCommand() *cobra.Command {
	var u tier.NATSUser
	var file string
	var revoke bool
	cmd := &cobra.Command{
		Use: "nats-user NAME", Short: "Make NATS credentials for a person or system outside", Args: cobra.ExactArgs(1),
		Long: `Make NATS credentials for a person or system outside. With the permission observe it may ask which services there are
($SRV.>) and read published events (ev.>), also by a durable consumer named like itself; with call it may send
requests to the services (svc.>), with a token of the API in each. It may do nothing else.`,
		Example: "  headcount-cloud nats-user grafana --permission observe --org acme --out grafana.creds",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.quiet()
			if err != nil {
				return err
			}
			if revoke {
				return tier.RevokeNATSUser(cmd.Context(), cfg, args[0])
			}
			u.Name = args[0]
			creds, url, inbox, err := tier.AddNATSUser(cmd.Context(), cfg, u)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.stderr, strings.TrimSpace("use it with: nats --inbox-prefix "+inbox+" --creds FILE --server "+url))
			if file != "" {
				return writeSecret(file, creds)
			}
			_, err = c.stdout.Write(creds)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&u.Permissions, "permission", []string{"observe"}, "what it may do: observe, call")
	cmd.Flags().StringVar(&u.Org, "org", "", "the organisation whose events it may read (default all)")
	cmd.Flags().StringVar(&file, "out", "", "write them to this new file, closed to others, instead of printing them")
	cmd.Flags().BoolVar(&revoke, "revoke", false, "make all credentials of NAME invalid at once instead")
	return cmd
}

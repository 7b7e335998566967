// Package agent holds the systemd unit of a host's agent, for the command that brings it to hosts.
package agent

import _ "embed" // for the unit

// Unit is clusterpki-agent.service.
//
//go:embed clusterpki-agent.service
var Unit []byte

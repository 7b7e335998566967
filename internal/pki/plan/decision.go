package plan

import "time"

// Action is what a controller has to do.
type Action string

// The actions.
const (
	Keep  Action = "Keep"  // the certificate stays
	Issue Action = "Issue" // a new certificate is needed, for a new key or the host's, and the issuer can sign
	Wait  Action = "Wait"  // a new certificate is needed, and the issuer cannot sign now, the host has not asked, a restore goes on, or it was issued too often
)

// Reason says why, in one word that conditions, events and metrics share.
type Reason string

// The reasons, each with when it surfaces.
const (
	Issued         Reason = "Issued"         // the certificate is as requested
	SecretMissing  Reason = "SecretMissing"  // there is no Secret yet, or it was deleted
	SecretInvalid  Reason = "SecretInvalid"  // the Secret holds no readable certificate, or no key where it should
	KeyMismatch    Reason = "KeyMismatch"    // the key in the Secret is not the certificate's
	RequestChanged Reason = "RequestChanged" // the spec asks for something else than what was issued
	RequestMissing Reason = "RequestMissing" // the host has the key, and has asked for no certificate
	KeyChanged     Reason = "KeyChanged"     // the host asks for a certificate for another key
	IssuerChanged  Reason = "IssuerChanged"  // another CA key is active now
	Tampered       Reason = "Tampered"       // the certificate is not what its Secret says was requested
	NotRecorded    Reason = "NotRecorded"    // it is not the certificate that was recorded last: what an agent signs by it proves nothing, or it was put back
	RenewalDue     Reason = "RenewalDue"     // the renewal time has come
	Expired        Reason = "Expired"        // the certificate is past its end
	// RenewalTriggered: a person asks for another certificate, by spec.renewal.trigger.
	RenewalTriggered Reason = "RenewalTriggered"
	// RestoreIncomplete: the object was restored from a backup, and its Secret may still be on its way.
	RestoreIncomplete Reason = "RestoreIncomplete"
	// RepairDelayed: somebody else writes or deletes the Secret again and again, and what was issued last would still do.
	RepairDelayed Reason = "RepairDelayed"
)

// Causes are the reasons for which a certificate is issued.
var Causes = []Reason{
	SecretMissing, SecretInvalid, KeyMismatch, RequestChanged, KeyChanged, IssuerChanged, Tampered, NotRecorded, RenewalDue, Expired,
	RenewalTriggered,
}

// Decision is the answer for one certificate at one moment.
type Decision struct {
	Action    Action
	Reason    Reason
	Message   string    // why, for people; it holds no counter and no clock
	NextCheck time.Time // when the answer changes by itself; zero: only an event can change it
}

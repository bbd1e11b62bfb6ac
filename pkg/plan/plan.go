// Package plan works out what must be verified for one object, without any I/O.
package plan

import (
	"fmt"

	"github.com/signet-policy/signet/pkg/extract"
	"github.com/signet-policy/signet/pkg/image"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

// Input is the object under review.
type Input struct {
	Attributes *match.Attributes
	Object     map[string]any
	// Old is the object before an update, nil otherwise; OldAttributes are its own, nil when they cannot be read.
	Old           map[string]any
	OldAttributes *match.Attributes
	Images        *image.Parser
}

// Plan is what must be verified, with every image once.
type Plan struct {
	// Images are the object's distinct references in image order.
	Images []*Image
	// Invalid are references that do not parse.
	Invalid []Invalid
	// Err is set when the images could not be extracted at all.
	Err error
	// Rules are those that have something to say about the object: an image of theirs, or an error.
	Rules []Rule

	in   *Input
	uses int
}

// Image is one distinct reference of the object.
type Image struct {
	Ref  image.Ref
	Uses []Use
	// Index is the place in Plan.Images.
	Index int

	forms *image.Forms
}

// Use is one place of the reference.
type Use struct {
	extract.Use
	// Unchanged is set when the same element of the same list held the same string before the update.
	Unchanged bool
}

// Unchanged tells whether every use of the image is unchanged.
func (i *Image) Unchanged() bool {
	for _, u := range i.Uses {
		if !u.Unchanged {
			return false
		}
	}
	return true
}

// Unchanged tells whether every image of the object is unchanged.
func (p *Plan) Unchanged() bool {
	for _, img := range p.Images {
		if !img.Unchanged() {
			return false
		}
	}
	for _, bad := range p.Invalid {
		if !bad.Unchanged {
			return false
		}
	}
	return p.Err == nil
}

// Invalid is a reference that does not parse.
type Invalid struct {
	Use
	Err error
}

// Rule is one rule with the images it processes.
type Rule struct {
	Rule *policy.Rule
	// HeldBefore tells that the rule also matched the object before the update, so that unchanged images do not block.
	HeldBefore bool
	// Err says why it cannot be told whether the rule is about the object, or with which action. It then has no images,
	// and HeldBefore also says that all that it would have are unchanged.
	Err    error
	Images []RuleImage
}

// RuleImage is one image as a rule sees it.
type RuleImage struct {
	Image *Image
	// Entries judge the image; Skipping ones matched it and left it out by skipImageReferences.
	Entries  []*policy.Entry
	Skipping []*policy.Entry
}

// Read finds the images of the object. It gives a plan without rules, which Add completes.
func Read(in *Input) *Plan {
	p := &Plan{in: in}
	uses, err := extract.Images(in.Attributes.Kind, in.Object)
	if err != nil {
		p.Err = fmt.Errorf("failed to extract images: %w", err)
	}
	p.uses = len(uses)
	before := elements(in)
	byRef := make(map[image.Ref]*Image, len(uses))
	for _, u := range uses {
		use := Use{Use: u, Unchanged: before[element{u.Category, u.Key}] == u.Value && u.Key != ""}
		named, err := in.Images.Parse(u.Value)
		if err != nil {
			p.Invalid = append(p.Invalid, Invalid{Use: use, Err: fmt.Errorf("failed to extract images: %w", err)})
			continue
		}
		if known := byRef[named.Ref]; known != nil {
			known.Uses = append(known.Uses, use)
			continue
		}
		img := &Image{Ref: named.Ref, Uses: []Use{use}, Index: len(p.Images), forms: named.Forms}
		byRef[named.Ref] = img
		p.Images = append(p.Images, img)
	}
	return p
}

// Hosts are the registries that the object's images are in, in every spelling; any is true when rules about other
// registries may have something to say as well.
func (p *Plan) Hosts() (hosts []string, any bool) {
	if p.Err != nil || len(p.Invalid) > 0 {
		return nil, true
	}
	for _, img := range p.Images {
		own := img.forms.Hosts()
		if own == nil {
			return nil, true
		}
		hosts = append(hosts, own...)
	}
	return hosts, false
}

// New plans the review of an object under the rules that matched it.
func New(rules []*policy.Rule, in *Input) *Plan {
	p := Read(in)
	p.Add(rules)
	return p
}

// Add plans the rules that matched the object.
func (p *Plan) Add(rules []*policy.Rule) {
	in := p.in
	for _, r := range rules {
		if r.Broken != "" && p.uses == 0 && p.Err == nil {
			continue
		}
		planned := Rule{Rule: r, HeldBefore: heldBefore(r, in), Err: r.Undecided(in.Attributes)}
		for _, img := range p.Images {
			if r.Broken != "" {
				break
			}
			if ri := judge(r, img); len(ri.Entries)+len(ri.Skipping) > 0 {
				planned.Images = append(planned.Images, ri)
			}
		}
		if r.Broken == "" && len(planned.Images) == 0 && len(p.Invalid) == 0 && p.Err == nil {
			continue
		}
		if planned.Err != nil {
			for i := range planned.Images {
				planned.HeldBefore = planned.HeldBefore && planned.Images[i].Image.Unchanged()
			}
			planned.Images = nil
		}
		p.Rules = append(p.Rules, planned)
	}
}

// heldBefore tells whether a rule matched the object before the update. If that cannot be told, it did not.
func heldBefore(r *policy.Rule, in *Input) bool {
	if in.Old == nil || in.OldAttributes == nil {
		return false
	}
	held, err := r.Filter.Matches(in.OldAttributes)
	return held && err == nil
}

func judge(r *policy.Rule, img *Image) RuleImage {
	ri := RuleImage{Image: img}
	for _, e := range r.Entries {
		switch judges, skips := e.Judges(img.forms); {
		case judges:
			ri.Entries = append(ri.Entries, e)
		case skips:
			ri.Skipping = append(ri.Skipping, e)
		}
	}
	return ri
}

// element names one element of a list across two versions of an object.
type element struct{ category, key string }

// elements gives the image of every named element before an update. What cannot be read was not there, so that the
// images of today are judged as new ones.
func elements(in *Input) map[element]string {
	if in.Old == nil {
		return nil
	}
	uses, err := extract.Images(in.Attributes.Kind, in.Old)
	if err != nil {
		return nil
	}
	before := make(map[element]string, len(uses))
	for _, u := range uses {
		e := element{u.Category, u.Key}
		if _, twice := before[e]; twice {
			// Which of them an element of today was cannot be told. The empty text is no image, so none is unchanged.
			before[e] = ""
			continue
		}
		before[e] = u.Value
	}
	return before
}

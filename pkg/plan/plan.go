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
	// Own is the policy whose own path the request came on, zero on a common path.
	Own policy.Key
}

// Plan is what must be verified, with every image once.
type Plan struct {
	// Images are the object's distinct references in image order, followed by those that only rules with extractors of
	// their own see. A reference that several look at is there once.
	Images []*Image
	// Found is what rules without extractors of their own see.
	Found Found
	// Rules are those that have something to say about the object: an image of theirs, or an error.
	Rules []Rule

	in    *Input
	index map[image.Ref]int
}

// Found is what was found in the object at certain places.
type Found struct {
	// Images are the distinct references in image order, with their uses at these places.
	Images []*Image
	// Invalid are references that do not parse.
	Invalid []Invalid
	// Err is set when the images could not be extracted at all.
	Err error

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
	// Order is its place in image order among all that was found.
	Order int
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

// Unchanged tells whether every image is unchanged.
func (f *Found) Unchanged() bool {
	for _, img := range f.Images {
		if !img.Unchanged() {
			return false
		}
	}
	for _, bad := range f.Invalid {
		if !bad.Unchanged {
			return false
		}
	}
	return f.Err == nil
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
	Err error
	// Found is what the rule sees of the object.
	Found  *Found
	Images []RuleImage
	// Exceptions take the rule away; it then has no images.
	Exceptions []policy.Key
}

// Undecide says that it cannot be told whether the rule applies to the object.
func (r *Rule) Undecide(err error) {
	r.Err = err
	for i := range r.Images {
		r.HeldBefore = r.HeldBefore && r.Images[i].Image.Unchanged()
	}
	r.Images = nil
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
	p := &Plan{in: in, index: map[image.Ref]int{}}
	find := func(object map[string]any) ([]extract.Use, error) { return extract.Images(in.Attributes.Kind, object) }
	uses, err := find(in.Object)
	p.read(&p.Found, uses, err, find)
	return p
}

// read takes what was found in the object. What find finds in the old one tells which of it is unchanged.
func (p *Plan) read(out *Found, uses []extract.Use, err error, find func(map[string]any) ([]extract.Use, error)) {
	if err != nil {
		out.Err = fmt.Errorf("failed to extract images: %w", err)
	}
	out.uses = len(uses)
	before := elements(p.in.Old, find)
	byRef := make(map[image.Ref]*Image, len(uses))
	for i, u := range uses {
		use := Use{Use: u, Order: i, Unchanged: u.Key != "" && before[element{u.Category, u.Key}].same(&u)}
		named, err := p.in.Images.Parse(u.Value)
		if err != nil {
			out.Invalid = append(out.Invalid, Invalid{Use: use, Err: fmt.Errorf("failed to extract images: %w", err)})
			continue
		}
		if known := byRef[named.Ref]; known != nil {
			known.Uses = append(known.Uses, use)
			continue
		}
		img := &Image{Ref: named.Ref, Uses: []Use{use}, Index: len(p.Images), forms: named.Forms}
		if known, ok := p.index[named.Ref]; ok {
			img.Index = known
		} else {
			p.index[named.Ref] = img.Index
			p.Images = append(p.Images, img)
		}
		byRef[named.Ref] = img
		out.Images = append(out.Images, img)
	}
}

// See is what a rule sees of the object.
func (p *Plan) See(r *policy.Rule) *Found {
	uses, custom, err := r.Extractors.Images(p.in.Attributes.Kind, p.in.Object)
	if !custom {
		return &p.Found
	}
	out := &Found{}
	p.read(out, uses, err, func(object map[string]any) ([]extract.Use, error) {
		uses, _, err := r.Extractors.Images(p.in.Attributes.Kind, object)
		return uses, err
	})
	return out
}

// Places calls f for every place that a rule of the plan sees an image at, each once, until f returns false.
func (p *Plan) Places(f func(*Use) bool) {
	seen := map[string]bool{}
	visit := func(images []*Image) bool {
		for _, img := range images {
			for i := range img.Uses {
				if u := &img.Uses[i]; !seen[u.Pointer] {
					seen[u.Pointer] = true
					if !f(u) {
						return false
					}
				}
			}
		}
		return true
	}
	if !visit(p.Found.Images) {
		return
	}
	for i := range p.Rules {
		if own := p.Rules[i].Found; own != &p.Found && !visit(own.Images) {
			return
		}
	}
}

// Hosts are the registries that the object's images are in, in every spelling; any is true when rules about other
// registries may have something to say as well.
func (p *Plan) Hosts() (hosts []string, any bool) {
	if p.Found.Err != nil || len(p.Found.Invalid) > 0 {
		return nil, true
	}
	for _, img := range p.Found.Images {
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
		found := p.See(r)
		if r.Broken != "" && found.uses == 0 && found.Err == nil {
			continue
		}
		planned := Rule{Rule: r, HeldBefore: heldBefore(r, in), Err: r.Undecided(in.Attributes), Found: found}
		for _, img := range found.Images {
			if r.Broken != "" {
				break
			}
			if ri := Judge(r.Entries, img); len(ri.Entries)+len(ri.Skipping) > 0 {
				planned.Images = append(planned.Images, ri)
			}
		}
		if r.Broken == "" && len(planned.Images) == 0 && len(found.Invalid) == 0 && found.Err == nil {
			continue
		}
		if planned.Err != nil {
			planned.Undecide(planned.Err)
		}
		p.Rules = append(p.Rules, planned)
	}
}

// heldBefore tells whether a rule matched the object before the update. If that cannot be told, it did not: whether the API
// server would have asked a policy with matchConditions about the old object, only the API server knows. On a common path such a
// policy is judged while it may still be asked about there, which is without conditions.
func heldBefore(r *policy.Rule, in *Input) bool {
	if in.Old == nil || in.OldAttributes == nil || r.Policy.FineGrained() && r.Policy.Key == in.Own {
		return false
	}
	held, err := r.Filter.Matches(in.OldAttributes)
	return held && err == nil
}

// Judge tells which of the entries judge an image, and which of them skip it.
func Judge(entries []*policy.Entry, img *Image) RuleImage {
	ri := RuleImage{Image: img}
	for _, e := range entries {
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

// old is the image of one element before an update.
type old struct {
	use   extract.Use
	twice bool
}

// same tells whether the element held the same string, at whatever place in its list.
func (o old) same(u *extract.Use) bool {
	return !o.twice && o.use.Value == u.Value && o.use.From == u.From
}

// elements gives the image of every named element before an update. What cannot be read was not there, so that the
// images of today are judged as new ones.
func elements(object map[string]any, find func(map[string]any) ([]extract.Use, error)) map[element]old {
	if object == nil {
		return nil
	}
	uses, err := find(object)
	if err != nil {
		return nil
	}
	before := make(map[element]old, len(uses))
	for _, u := range uses {
		e := element{u.Category, u.Key}
		// Of two elements of one name it cannot be told which of them an element of today was.
		_, twice := before[e]
		before[e] = old{use: u, twice: twice}
	}
	return before
}

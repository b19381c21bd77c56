package registries
import "testing"
func TestZZ(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		for _, a := range []access{basic, bearer} {
			e := r.at[a]
			c := e.client(t)
			c.resolve(t, "oci-index"); t.Log(a, "none cold", e.asked())
			c.resolve(t, "oci-index"); t.Log(a, "none again", e.asked())
			c = e.client(t)
			c.resolve(t, "oci-index", wrong()); t.Log(a, "wrong cold", e.asked())
			c.resolve(t, "oci-index", wrong()); t.Log(a, "wrong again", e.asked())
			c = e.client(t)
			c.resolve(t, "oci-index", wrong(), right()); t.Log(a, "wrong,right cold", e.asked())
			c.resolve(t, "oci-index", wrong(), right()); t.Log(a, "wrong,right again", e.asked())
			c = e.client(t)
			c.resolve(t, "none", right()); t.Log(a, "missing cold", e.asked())
			c.resolve(t, "none", right()); t.Log(a, "missing again", e.asked())
		}
		c := r.at[plain].client(t)
		c.resolve(t, "none"); t.Log("plain missing cold", r.at[plain].asked())
	})
}

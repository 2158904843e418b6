package maildir

import "fmt"

// Names are those of a message once it is committed, the same in all of its
// maildrops: of its file in new, and the unique-id that Maildrop.UID gives it.
func (d *Delivery) Names() (file, uid string) {
	file = d.name()
	return file, uidOf(file)
}

// name is that of the file, when all of the message is written.
func (d *Delivery) name() string {
	return fmt.Sprintf("%s,S=%d,W=%d", d.unique, d.content.size.disk, d.content.size.total())
}

package maildir

import "strconv"

// Names are those of a message once it is committed, the same in all of its
// maildrops: of its file in new, and the unique-id that Maildrop.UID gives it.
func (d *Delivery) Names() (file, uid string) {
	file = d.name()
	return file, uidOf(file)
}

// name is that of the file, when all of the message is written.
func (d *Delivery) name() string {
	return d.unique + ",S=" + strconv.FormatInt(d.content.size.disk, 10) + ",W=" + strconv.FormatInt(d.content.size.total(), 10)
}

package userdb

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Names that look alike.
//
// A new name must be written in one script, of those in everyday use (UAX 31,
// table 5), and without characters that show little or nothing. So what is left
// to be mixed up are whole names: "аlice" in Cyrillic letters can't be written,
// but "сора" beside "copa" can. They are compared by their skeletons (UTS 39,
// section 4), for which letters of Cyrillic, Greek, Armenian and odd Latin become
// the ASCII ones that they look like, in small letters and in capitals. Letters of
// other scripts look like no whole Latin word. ASCII is not compared with itself:
// "bo1" and "bol" are two names.

// mistaken is the error for a name that could be taken for another, whether or
// not somebody has that. It matches ErrTaken.
type mistaken struct{ cause string }

func (e mistaken) Error() string        { return "the name is easily mistaken: " + e.cause }
func (e mistaken) Is(target error) bool { return target == ErrTaken }

func mistakenf(format string, args ...any) error { return mistaken{fmt.Sprintf(format, args...)} }

// scripts are those of names; each with the letters of those that it is written
// together with.
var scripts = [][]*unicode.RangeTable{
	{unicode.Latin},
	{unicode.Cyrillic},
	{unicode.Greek},
	{unicode.Han, unicode.Bopomofo}, // Chinese
	{unicode.Han, unicode.Hiragana, unicode.Katakana, longVowel}, // Japanese
	{unicode.Han, unicode.Hangul},                                // Korean
	{unicode.Arabic, arabicDigits},
	{unicode.Armenian},
	{unicode.Bengali},
	{unicode.Devanagari},
	{unicode.Ethiopic},
	{unicode.Georgian},
	{unicode.Gujarati},
	{unicode.Gurmukhi},
	{unicode.Hebrew},
	{unicode.Kannada},
	{unicode.Khmer},
	{unicode.Lao},
	{unicode.Malayalam},
	{unicode.Myanmar},
	{unicode.Oriya},
	{unicode.Sinhala},
	{unicode.Tamil},
	{unicode.Telugu},
	{unicode.Thaana},
	{unicode.Thai},
	{unicode.Tibetan},
}

// What Unicode counts among no script, as several use it.
var (
	longVowel    = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x30fc, Hi: 0x30fc, Stride: 1}}}
	arabicDigits = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x660, Hi: 0x669, Stride: 1}}}
)

// checkLooks returns an error for a name that nobody
// should be given. A name that is somebody's already is none of its business.
func (n Name) checkLooks() error {
	for part := range strings.SplitSeq(n.domain+"."+n.local, ".") {
		if isASCII(part) {
			continue
		}
		if err := checkPart(part); err != nil {
			return err
		}
	}
	return nil
}

func checkPart(part string) error {
	if !norm.NFKC.IsNormalString(part) {
		return mistakenf("%q holds a variant of another letter", part)
	}
	for _, r := range part {
		if unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return mistakenf("%+q holds what can't be seen", part)
		}
	}
	for _, script := range scripts {
		if writes(script, part) {
			return checkDigits(part)
		}
	}
	return mistakenf("%+q is not of one script in everyday use", part)
}

// writes reports whether a script has all that is in part. A mark that is no
// script's own belongs to those that have no letters with marks in one.
func writes(tables []*unicode.RangeTable, part string) bool {
	european := unicode.In(rune('a'), tables...) || unicode.In('а', tables...) || unicode.In('α', tables...)
	for _, r := range part {
		switch {
		case unicode.In(r, tables...):
		case r < 0x80 && !unicode.IsLetter(r):
		case unicode.Is(unicode.Inherited, r) && !european:
		default:
			return false
		}
	}
	return true
}

// checkDigits wants the digits of one kind: those of many scripts resemble
// others of another value.
func checkDigits(part string) error {
	ascii := strings.ContainsAny(part, "0123456789")
	for _, r := range part {
		if ascii && r >= 0x80 && unicode.IsDigit(r) {
			return mistakenf("%+q has digits of two kinds", part)
		}
	}
	return nil
}

// alike holds, for each character, those that look like it.
var alike = invert(map[rune]string{
	'a': "аαɑᴀ", 'b': "ьвβʙƅ", 'c': "сϲᴄ", 'd': "ԁᴅ", 'e': "еεᴇ", 'g': "ɡցɢ", 'h': "һнհʜ", 'i': "іιıɩɪ",
	'j': "јϳյȷᴊ", 'k': "кκᴋ", 'l': "ӏǀʟ", 'm': "мᴍ", 'n': "пηոɴ", 'o': "оοօᴏ", 'p': "рρքᴘ", 'q': "ԛզ",
	'r': "гʀ", 's': "ѕꜱƨ", 't': "тτᴛ", 'u': "иυμսᴜ", 'v': "ѵνʋᴠ", 'w': "ѡԝωաɯᴡ", 'x': "хχ", 'y': "уүγʏ", 'z': "зζᴢ",
	'A': "АΑ", 'B': "ВΒ", 'C': "СϹ", 'E': "ЕΕ", 'G': "Ԍ", 'H': "НΗ", 'I': "ІӀΙ", 'J': "ЈͿ", 'K': "КΚ", 'L': "Լ",
	'M': "МΜ", 'N': "Ν", 'O': "ОΟՕ", 'P': "РΡ", 'Q': "Ԛ", 'S': "ЅՏ", 'T': "ТΤ", 'U': "Ս", 'V': "Ѵ", 'W': "Ԝ",
	'X': "ХΧ", 'Y': "УҮΥ", 'Z': "Ζ", '!': "ǃ",
	'\u0660': "\u06f0", '\u0661': "\u06f1", '\u0662': "\u06f2", '\u0663': "\u06f3", '\u0664': "\u06f4",
	'\u0665': "\u06f5", '\u0666': "\u06f6", '\u0667': "\u06f7", '\u0668': "\u06f8", '\u0669': "\u06f9",
})

func invert(looks map[rune]string) map[rune]rune {
	all := map[rune]rune{}
	for like, letters := range looks {
		for _, r := range letters {
			all[r] = like
		}
	}
	return all
}

// skeleton is the same for texts that look alike.
func skeleton(s string) string {
	return strings.ToLower(norm.NFC.String(strings.Map(func(r rune) rune {
		if to, ok := alike[r]; ok {
			return to
		}
		return r
	}, norm.NFD.String(s))))
}

// looks are the keys by which names are found that a new one could be mistaken
// for, or could receive mail for: one is theirs too. Two names that differ in
// case or sub-address alone share the first.
func (n Name) looks() []string {
	local := base(n.local)
	if isASCII(local) {
		return []string{strings.ToLower(local)}
	}
	small, capital := skeleton(fold(local)), skeleton(strings.ToUpper(local))
	if small == capital {
		return []string{small}
	}
	return []string{small, capital}
}

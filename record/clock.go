package record

import "time"

// Times are formatted and read by hand: the layout is fixed, and the parser of
// package time takes more than one text for a time.
//
//	2026-01-02T03:04:05.000000006Z      30 bytes

const timeText = 30

const (
	secondsPerDay = 86400
	daysPerEra    = 146097 // 400 years of the Gregorian calendar
	// epochDays is the number of days from 0000-03-01 to 1970-01-01.
	epochDays = 719468

	minSeconds = -62135596800 // 0001-01-01T00:00:00Z
	maxSeconds = 253402300799 // 9999-12-31T23:59:59Z
)

// inRange reports whether t lies in the years 1 to 9999 of UTC.
func inRange(t time.Time) bool {
	s := t.Unix()
	return s >= minSeconds && s <= maxSeconds
}

// appendTime appends a time without quotes; it must be inRange.
func appendTime(dst []byte, t time.Time) []byte {
	s := t.Unix() + epochDays*secondsPerDay
	day, rest := s/secondsPerDay, int(s%secondsPerDay)
	y, m, d := civil(day)
	dst = append2(append2(dst, y/100), y%100)
	dst = append2(append(dst, '-'), m)
	dst = append2(append(dst, '-'), d)
	dst = append2(append(dst, 'T'), rest/3600)
	dst = append2(append(dst, ':'), rest/60%60)
	dst = append2(append(dst, ':'), rest%60)
	n := t.Nanosecond()
	dst = append(dst, '.', '0'+byte(n/100000000))
	dst = append2(dst, n/1000000%100)
	dst = append2(dst, n/10000%100)
	dst = append2(dst, n/100%100)
	dst = append2(dst, n%100)
	return append(dst, 'Z')
}

func append2(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// civil returns the date that is day days after 0000-03-01. Years begin in
// March here, so that the leap day is the last day of a year and the lengths
// of the months follow a straight line: 153 days in five months.
func civil(day int64) (y, m, d int) {
	era := day / daysPerEra
	inEra := int(day % daysPerEra)
	year := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*year + year/4 - year/100)
	month := (5*inYear + 2) / 153 // 0 is March
	d = inYear - (153*month+2)/5 + 1
	y = int(era)*400 + year
	if month < 10 {
		return y, month + 3, d
	}
	return y + 1, month - 9, d
}

// days is the inverse of civil.
func days(y, m, d int) int64 {
	month := m - 3
	if m < 3 {
		y, month = y-1, m+9
	}
	year := y % 400
	return int64(y/400)*daysPerEra + int64(365*year+year/4-year/100+(153*month+2)/5+d-1)
}

func daysIn(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// parseTime reads the 30 bytes that appendTime writes, and nothing else. The
// result is in UTC.
func parseTime(b []byte) (time.Time, bool) {
	if len(b) != timeText || b[4] != '-' || b[7] != '-' || b[10] != 'T' ||
		b[13] != ':' || b[16] != ':' || b[19] != '.' || b[29] != 'Z' || b[20]-'0' > 9 {
		return time.Time{}, false
	}
	century, year := pair(b[0:2]), pair(b[2:4])
	m, d := pair(b[5:7]), pair(b[8:10])
	hour, minute, second := pair(b[11:13]), pair(b[14:16]), pair(b[17:19])
	n1, n2, n3, n4 := pair(b[21:23]), pair(b[23:25]), pair(b[25:27]), pair(b[27:29])
	if century > 99 || year > 99 || hour > 23 || minute > 59 || second > 59 ||
		n1 > 99 || n2 > 99 || n3 > 99 || n4 > 99 {
		return time.Time{}, false
	}
	y := century*100 + year
	if y < 1 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return time.Time{}, false
	}
	s := (days(y, m, d)-epochDays)*secondsPerDay + int64(hour*3600+minute*60+second)
	nano := int(b[20]-'0')*100000000 + n1*1000000 + n2*10000 + n3*100 + n4
	return time.Unix(s, int64(nano)).UTC(), true
}

// pair returns the value of two digits, or more than 99.
func pair(b []byte) int {
	tens, ones := b[0]-'0', b[1]-'0'
	if tens > 9 || ones > 9 {
		return 1000
	}
	return int(tens)*10 + int(ones)
}

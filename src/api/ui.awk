# The files of src/api/ui as C: see uitext.h. First the page, with a break at
# @style and at @script; of what stands there, what only people read is left out.
function text(line) {
	gsub(/\\/, "\\\\&", line)
	gsub(/"/, "\\\"", line)
	gsub(/\t/, "\\t", line)
	gsub(/\?\?/, "?\\?", line)	# no trigraphs
	return "\t\"" line "\\n\","
}
function part(name) {
	print (parts++ ? "\tNULL\n};\n" : "") "\nconst char *const ui_" name "[] = {"
}
BEGIN {
	print "/* Made from src/api/ui by ui.awk. */"
	print "#include \"api/uitext.h\"\n\n#include <stddef.h>"
	part("top")
}
/^@style$/ { part("middle"); next }
/^@script$/ { part("bottom"); next }
FILENAME ~ /\.css$/ && !styles++ { part("style") }
FILENAME ~ /\.js$/ && !scripts++ { part("script") }
FILENAME !~ /\.html$/ {
	sub(/^[ \t]+/, "")
	if ($0 == "" || /^\/\/ / || /^\/\*.*\*\/$/)
		next
}
{ print text($0) }
END { print "\tNULL\n};" }

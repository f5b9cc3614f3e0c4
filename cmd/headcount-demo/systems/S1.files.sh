# S1.files  attachments: by their bytes, scanned, with thumbnails, in pieces
# doc: workorders.md#attachments
. "$(dirname "$0")/lib.sh"
W=$(curl -s "$LAB/v1/work-orders" -H "$L" -d '{"site":"hq","title":"photo"}' | jq -r .id)
X='X5O!P%@AP[4\PZX54(P^)7CC)7}$'
printf '%sEICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' "$X" >"$T/eicar.txt"
bad=$(curl -s -F "file=@$T/eicar.txt" "$LAB/v1/work-orders/$W/attachments" -H "$L" | jq -r '.id // .attachments[0].id')
state() { curl -s "$LAB/v1/work-orders/$W/attachments" -H "$L" | jq -re ".attachments[] | select(.id == \"$1\" and .state == \"$2\") | .state"; }
soon state "$bad" infected
is "$(status "$LAB/v1/work-orders/$W/attachments/$bad/content" -H "$L")" 403
ffmpeg -loglevel error -f lavfi -i color=red:size=800x600 -frames:v 1 "$T/photo.png"
good=$(curl -s -F "file=@$T/photo.png" "$LAB/v1/work-orders/$W/attachments" -H "$L" | jq -r '.id // .attachments[0].id')
soon state "$good" clean
for variant in thumbnail webp; do
	got() { curl -fs -o "$T/$variant" "$LAB/v1/work-orders/$W/attachments/$good/content?variant=$variant" -H "$L" && head -c 12 "$T/$variant" | tr -d '\0'; }
	soon got
done
head -c 16 "$T/webp" | grep -aq WEBP || wrong "the WebP is none"
ffmpeg -loglevel error -f lavfi -i color=blue:size=64x64:rate=5 -t 1 -c:v mjpeg "$T/film.avi"
film=$(curl -s -F "file=@$T/film.avi" "$LAB/v1/work-orders/$W/attachments" -H "$L" | jq -r '.id // .attachments[0].id')
got() { curl -fs -o "$T/mp4" "$LAB/v1/work-orders/$W/attachments/$film/content?variant=mp4" -H "$L" && head -c 12 "$T/mp4" | tr -d '\0'; }
soon got
has ftyp
# A broken upload goes on where it stopped; a picture that would not fit into memory is refused; the scanner away.
proven ./cloud/workorders TestABrokenUploadGoesOn TestAnUploadInPieces TestThumbnailsAreMadeWithinBounds TestAScannerThatIsAwayIsAskedAgain TestWithoutAScannerItSaysSo

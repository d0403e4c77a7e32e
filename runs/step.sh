# Sourced by tiny.sh and full.sh: their settings, and steps that are not repeated.

export COLUMNS=160 # of printed tables

fail() {
  echo "error: $*" >&2
  exit 1
}

# settings "NAME ..." NAME=VALUE ...: set the variables given, of those named first.
settings() {
  local known=" $1 " setting
  shift
  for setting in "$@"; do
    [[ $setting == *=* && ${setting%%=*} != *" "* && $known == *" ${setting%%=*} "* ]] ||
      fail "There is no setting '$setting' of ${0##*/}: expected NAME=VALUE, with NAME one of$known."
    printf -v "${setting%%=*}" %s "${setting#*=}"
  done
}

# typed WORD ...: a command as one would type it.
typed() {
  local word
  for word in "$@"; do
    [[ $word =~ [^A-Za-z0-9_./=:,+-] ]] && word=${word@Q}
    printf ' %s' "$word"
  done
}

# step NAME COMMAND ...: run a command and keep what it prints in $out/printed/NAME.txt, unless that is there already.
step() {
  local name=$1 printed=$out/printed/$1.txt command start=$SECONDS
  shift
  command="\$$(typed "$@")"
  echo "$command"
  if [[ -f $printed && $(head -n 1 "$printed") == "$command" ]]; then
    echo "$name is complete"
    return
  fi
  mkdir -p "$out/printed"
  echo "$command" > "$printed.partial"
  "$@" | tee -a "$printed.partial" || fail "$name failed: the same command resumes it."
  echo "# $((SECONDS - start)) s" | tee -a "$printed.partial"
  mv "$printed.partial" "$printed"
}
